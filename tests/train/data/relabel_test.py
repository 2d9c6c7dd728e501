import re
from pathlib import Path

import numpy as np
import pytest

from ema_jax.classes import voc_palette
from train.data.relabel import Relabel, consecutive, read_table
from train.user.errors import UserError

PLACE = Path("a.mat")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, np.float64])
def test_numbers_become_classes(dtype):
    relabel = Relabel({0: 255, 7: 0, 8: 1, 33: 2})
    values = np.array([[0, 7, 8], [33, 33, 0]], dtype)
    mask = relabel(values, PLACE)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, [[255, 0, 1], [2, 2, 255]])


@pytest.mark.parametrize("wrong", [1, 34, 35, 459, 65535])
def test_other_numbers_are_an_error_or_a_class(wrong):
    values = np.array([[7, wrong]], np.uint16)
    with pytest.raises(UserError, match=rf"a\.mat: holds {wrong}, which is no label"):
        Relabel({7: 0, 33: 1})(values, PLACE)
    np.testing.assert_array_equal(Relabel({7: 3}, other=0)(values, PLACE), [[3, 0]])


@pytest.mark.parametrize("wrong", [-1.0, 7.5, 1e6])
def test_numbers_that_are_none(wrong):
    with pytest.raises(UserError, match=re.escape(f"holds {wrong:g},")):
        Relabel({7: 0})(np.array([[wrong]]), PLACE)


def test_consecutive():
    assert consecutive((5, 9), first=1, ignored=(0, 255)) == {
        0: 255,
        255: 255,
        5: 1,
        9: 2,
    }


@pytest.mark.parametrize(
    ("name", "count", "known"),
    [
        ("ade20k", 150, {1: "wall", 13: "person", 66: "toilet", 150: "flag"}),
        (
            "cocostuff10k",
            171,
            {
                1: "person",
                11: "fire hydrant",
                13: "stop sign",
                90: "toothbrush",
                92: "banner",
                182: "wood",
            },
        ),
        (
            "pascal_context",
            59,
            {2: "aeroplane", 23: "bicycle", 284: "person", 397: "table", 458: "wood"},
        ),
    ],
)
def test_tables(name, count, known):
    table = read_table(name)
    assert len(table.names) == len(set(table.names)) == count
    assert len(table.numbers) == len(set(table.numbers)) == count
    assert list(table.numbers) == sorted(table.numbers)
    assert table.palette.shape == (count, 3)
    assert table.palette.dtype == np.uint8
    by_number = dict(zip(table.numbers, table.names, strict=True))
    assert {number: by_number[number] for number in known} == known


def test_cocostuff_leaves_out_the_categories_that_were_never_annotated():
    numbers = set(read_table("cocostuff10k").numbers)
    unused = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}
    assert numbers == set(range(1, 183)) - unused


def test_palettes():
    ade = read_table("ade20k").palette
    assert ade[[0, 2, 149]].tolist() == [[120, 120, 120], [6, 230, 230], [92, 0, 255]]
    np.testing.assert_array_equal(read_table("pascal_context").palette, voc_palette(59))
