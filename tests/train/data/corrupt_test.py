"""Damaged records: which example stands for them, and when there are too many."""

import logging

import pytest

from train.data.access import DamagedRecordError
from train.data.corrupt import tolerant
from train.user.errors import UserError


class Source:
    """Five examples, some of them damaged."""

    def __init__(self, *damaged):
        self.damaged = damaged

    def __len__(self):
        return 5

    def __getitem__(self, index):
        if index in self.damaged:
            raise DamagedRecordError(f"set/train[{index}]: damaged")
        return index


@pytest.mark.parametrize(
    ("damaged", "wanted"),
    [
        ((), [0, 1, 2, 3, 4]),
        ((2,), [0, 1, 3, 3, 4]),
        ((2, 3), [0, 1, 4, 4, 4]),
        ((4,), [0, 1, 2, 3, 0]),
    ],
)
@pytest.mark.parametrize("order", [range(5), range(4, -1, -1)])
def test_the_next_one_stands_for_it_in_any_order(damaged, wanted, order):
    source = tolerant(Source(*damaged), "skip", 5)
    assert len(source) == 5
    assert {i: source[i] for i in order} == dict(enumerate(wanted))


def test_or_an_example_of_ones_own():
    source = tolerant(Source(1), "skip", 5, lambda index: -index)
    assert [source[i] for i in range(5)] == [0, -1, 2, 3, 4]


def test_each_is_named_once(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("ema_jax"), "propagate", True)
    source = tolerant(Source(1, 3), "skip", 2)
    for _ in range(3):
        assert [source[i] for i in range(5)] == [0, 2, 2, 4, 4]
    assert [record.getMessage() for record in caplog.records] == [
        "set/train[1]: damaged; skipped, 1 of at most 2",
        "set/train[3]: damaged; skipped, 2 of at most 2",
    ]


def test_too_many_stop():
    source = tolerant(Source(1, 3), "skip", 1)
    assert source[1] == 2
    with pytest.raises(UserError, match=r"set/train\[3\].*2 records are damaged, more"):
        source[3]


def test_stop_is_the_source_itself():
    source = Source(1)
    assert tolerant(source, "stop", 5) is source
