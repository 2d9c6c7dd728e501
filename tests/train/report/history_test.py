"""The figures of a training that is stopped, killed and started again."""

import json

import pytest

from train.report import history
from train.report.history import History, series
from train.user.errors import UserError


class Clock:
    now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    fake = Clock()
    monkeypatch.setattr(history, "time", fake)
    return fake


def lines(folder):
    *found, end = (folder / "metrics.jsonl").read_text().split("\n")
    assert end == ""
    return [json.loads(line) for line in found]


def test_a_line_for_each_report(tmp_path, clock):
    kept = History(str(tmp_path), 0)
    clock.now += 2.5
    kept.add(5, {"train/loss": 0.1 + 0.2, "val_iou/<ü\u2028>": float("nan")})
    start, line = lines(tmp_path)
    assert start["step"] == start["seconds"] == 0
    assert start["started"].endswith("+00:00")
    assert line == {
        "step": 5,
        "seconds": 2.5,
        "train/loss": 0.3,
        "val_iou/<ü\u2028>": None,
    }
    assert kept.rows == [start, line]


def test_what_is_made_again_stands_there_once(tmp_path, clock):
    """Killed after step 30 while writing; the last checkpoint is of step 20."""
    first = History(str(tmp_path), 0)
    for step in (10, 20, 30):
        clock.now += 10
        first.add(step, {"a": step})
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 40, "sec')
    clock.now += 1000
    for _ in range(2):  # the first of these is killed at once
        second = History(str(tmp_path), 20)
        clock.now += 7
        second.add(30, {"a": 31})
    found = lines(tmp_path)
    assert [row["step"] for row in found] == [0, 10, 20, 20, 30]
    assert series(found, "a") == [(10, 10), (20, 20), (30, 31)]
    assert [row["seconds"] for row in found] == [0, 10, 20, 20, 27]
    assert ["started" in row for row in found] == [True, False, False, True, False]
    assert second.rows == found


def test_a_start_that_reports_nothing_changes_nothing(tmp_path):
    History(str(tmp_path), 0)
    assert list(tmp_path.iterdir()) == []
    History(str(tmp_path), 0).add(3, {"a": 1.0})
    before = (tmp_path / "metrics.jsonl").read_bytes()
    History(str(tmp_path), 3)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    "line", [b"\0\0\0", b"\xff", b"[1]", b"{}", b'{"step": "x", "seconds": 1}']
)
def test_lines_of_something_else_are_left_out(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    good = b'{"step": 1, "seconds": 4.0, "a": 2}\n'
    path.write_bytes(line + b"\n" + good)
    assert History(str(tmp_path), 5).rows == [{"step": 1, "seconds": 4.0, "a": 2}]
    assert path.read_bytes() == good


def test_a_folder_in_the_way(tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(UserError, match=r"^--workdir: .*metrics.jsonl cannot be"):
        History(str(tmp_path), 0)
