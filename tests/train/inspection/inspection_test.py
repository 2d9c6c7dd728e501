"""What is seen in splits: each suspicion, and what is none."""

import dataclasses
from functools import partial

import cv2
import numpy as np
import pytest

from tests.splits import NAMES, TRAIN, VAL, open_splits
from train.data import statistics
from train.data.statistics import Statistics, read_statistics
from train.inspection.findings import Split, find
from train.inspection.look import check, look
from train.inspection.sheet import choose
from train.user.errors import UserError


@pytest.fixture
def opened(tmp_path):
    """(masks of train, masks of val) -> the data set."""
    return partial(open_splits, tmp_path)


def found(dataset):
    train, val = (Split(s, read_statistics(dataset, s)) for s in ("train", "val"))
    return find(train, val, NAMES)


def test_nothing_is_suspicious_in_small_splits_of_all_classes(opened):
    assert found(opened()) == []


@pytest.mark.parametrize(
    ("train", "val", "stops", "said"),
    [
        (
            {"a": (0, 1), "b": (1, 0)},
            VAL,
            True,
            "no mask of 'train' holds 'cat' (1 of 3 classes)",
        ),
        (
            {"a": (0, 255), "b": (0, 255)},
            VAL,
            True,
            "holds 'door', 'cat' (2 of 3 classes): it cannot be learned; add images of "
            "it, say what the ignored pixels are",
        ),
        ({"a": (255,), "b": (255,)}, VAL, True, "every pixel of 'train' is ignored"),
        (TRAIN, dict.fromkeys(VAL, (255,)), True, "every pixel of 'val' is ignored"),
        (
            TRAIN | {"d": 60 * (255,)},
            VAL,
            False,
            "92.4% of the pixels of 'train' are ignored",
        ),
        (TRAIN, dict.fromkeys(VAL, (0, 1)), False, "no mask of 'val' holds 'cat'"),
        (TRAIN, {"v": (0, 1, 2)}, False, "'val' has 1 image: its scores will vary"),
        (TRAIN, TRAIN, True, "3 of the 3 images of 'val' are in 'train' too (a, b, c)"),
    ],
)
def test_suspicious(opened, train, val, stops, said):
    first = found(opened(train, val))[0]
    assert said in first.text
    assert first.stops == stops


def test_one_image_under_two_names(opened):
    [finding] = found(opened(VAL | {"twin": (0, 1, 2)}, VAL | {"w": (2, 1, 0)}, w=5))[
        :1
    ]
    assert finding.stops


def test_flags_and_damage_are_said(opened):
    counted = read_statistics(opened(), "train")
    kinds = np.array(["JPEG, 8-bit RGB, turned by its flag", statistics.DAMAGED, "PNG"])
    split = Split("train", dataclasses.replace(counted, kinds=kinds))
    val = Split("val", read_statistics(opened(), "val"))
    texts = [finding.text for finding in find(split, val, NAMES)]
    assert [text[:30] for text in texts] == [
        "1 images of 'train' have an or",
        "1 records of 'train' are damag",
    ]


def test_a_training_stops_or_is_warned(opened, caplog):
    dataset = opened(TRAIN, TRAIN)
    with pytest.raises(UserError, match=r"go on with --config\.data\.suspicious=warn$"):
        check(dataset, "train", "val", suspicious="stop")
    with caplog.at_level("INFO", "ema_jax"):
        check(dataset, "train", "val", suspicious="warn")
    lines = [record.message for record in caplog.records]
    assert lines[0] == (
        "train: 3 images of 6x8, PNG, 8-bit RGB, 16.7% of the pixels ignored"
    )
    assert lines[2].startswith("suspicious: 3 of the 3 images")
    with pytest.raises(UserError, match="trained on and evaluated on"):
        check(dataset, "train", "train", suspicious="stop")


def test_look_prints_and_draws(opened, tmp_path):
    text = look(opened(), "train", "val", str(tmp_path / "sheets"))
    table = [line.split() for line in text.splitlines()[4:7]]
    assert table[0] == ["wall", "40.000%", "2", "33.333%", "5"]
    assert table[2] == ["cat", "20.000%", "1", "33.333%", "5"]
    picture = cv2.imread(str(tmp_path / "sheets/train.png"))
    assert picture.shape == (3 * (6 + 4), 3 * (8 + 4), 3)
    # of two door columns beside two wall ones, over the VOC palette, in BGR
    assert [0, 0, 128] in picture[:, 12:20].reshape(-1, 3).tolist()


def test_the_sheet_shows_rare_classes_first():
    table = np.array([[9, 0, 0, 0], [9, 1, 0, 0], [9, 0, 2, 0], [99, 0, 0, 0]])
    digests = np.zeros((2, 4), np.uint64)
    arrays = np.array(list("abcd")), *digests, np.array(list("kkkk"))
    counted = Statistics(*arrays, np.ones((4, 2), np.int64), table)
    assert sorted(choose(counted, 2)) == [1, 2]
