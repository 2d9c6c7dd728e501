"""Polygons and runs; the strings and pixel counts were made by pycocotools 2.0."""

import numpy as np
import pytest

from train.data.coco_masks import (
    class_mask,
    decode_runs,
    expand_counts,
    object_mask,
    polygon_mask,
)

SQUARE = [5, 4, 20, 4, 20, 15, 5, 15]


@pytest.mark.parametrize(
    ("counts", "filled"),
    [
        ("0172LNN0224", [(0, 0), (2, 1), (3, 1), (4, 1), (2, 2), (4, 2)]),
        ([0, 1, 7, 3, 3, 1, 1, 1, 3, 3, 7], [(0, 0), (2, 1), (4, 1), (2, 2), (4, 2)]),
    ],
)
def test_a_ring_and_a_corner(counts, filled):
    wanted = np.zeros((6, 5), bool)
    wanted[0, 0] = wanted[2:5, 1:4] = True
    wanted[3, 2] = False
    mask = decode_runs(counts, (6, 5))
    np.testing.assert_array_equal(mask, wanted)
    assert all(mask[place] for place in filled)


def test_runs_of_several_digits_and_negative_differences():
    wanted = np.zeros((100, 50), bool)
    wanted[:, 3:30] = wanted[10, 40] = wanted[:90, 45] = True
    counts = "\\9\\d2bo0e[Mg_Oi2aM"
    np.testing.assert_array_equal(decode_runs(counts, (100, 50)), wanted)
    assert expand_counts(counts) == [300, 2700, 1010, 1, 489, 90, 410]


@pytest.mark.parametrize("counts", [[5, 5], [29, 2], [40, -10], []])
def test_runs_that_do_not_fit(counts):
    with pytest.raises(ValueError, match="runs"):
        decode_runs(counts, (6, 5))
    with pytest.raises(ValueError, match="runs of"):
        object_mask({"size": [5, 6], "counts": [30]}, (6, 5))


def winding(polygon, size):
    """By the definition: an odd number of edges right of the pixel's centre."""
    points = np.reshape(polygon, (-1, 2))
    mask = np.zeros(size, bool)
    for row, column in np.ndindex(*size):
        x, y = column + 0.5, row + 0.5
        for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
            if (y0 <= y) != (y1 <= y):
                mask[row, column] ^= x0 + (y - y0) / (y1 - y0) * (x1 - x0) > x
    return mask


@pytest.mark.parametrize("seed", range(4))
def test_polygons_follow_the_definition(seed):
    """Self-crossing, and partly outside of the image."""
    polygon = np.random.default_rng(seed).uniform(-6, 36, 14)
    mask = polygon_mask(polygon.tolist(), (20, 30))
    np.testing.assert_array_equal(mask, winding(polygon, (20, 30)))
    assert 20 < mask.sum() < 580


@pytest.mark.parametrize(
    ("polygon", "counts", "astray"),
    [
        (SQUARE, "X3;9000000000000000000000000000T6", 0),
        (
            [3.2, 2.1, 25.7, 6.4, 10.5, 17.9],
            "n11c02O1N2N2N2N3N1NO1O100O1O2N100O1O1O2O0O1O1O10Z2",
            2,
        ),
        (
            [2, 2, 28, 3, 15, 9, 27, 18, 3, 17],
            "Z17=8H00000000000000000000010OFM33MN22M020N020M22NN31MN51KO51KO60JO80H0W2",
            2,
        ),
    ],
)
def test_polygons_are_those_of_pycocotools_but_for_edges(polygon, counts, astray):
    theirs = decode_runs(counts, (20, 30))
    ours = polygon_mask(polygon, (20, 30))
    assert np.sum(ours ^ theirs) <= astray


def test_an_object_is_the_union_of_its_polygons():
    """Not the difference, where they overlap."""
    mask = object_mask([SQUARE, [10, 8, 25, 8, 25, 19, 10, 19]], (20, 30))
    wanted = np.zeros((20, 30), bool)
    wanted[4:15, 5:20] = wanted[8:19, 10:25] = True
    np.testing.assert_array_equal(mask, wanted)


def test_pixels_of_two_classes_are_ignored():
    runs = {"size": [20, 30], "counts": [0, 60, 540]}  # three columns at the left
    other = [0, 0, 10, 0, 10, 10, 0, 10]
    objects = [(15, [SQUARE]), (3, [other]), (15, [other]), (15, runs)]
    wanted = np.zeros((20, 30), np.uint8)
    wanted[4:15, 5:20] = 15
    wanted[:, :3] = 15
    wanted[:10, :10] = 255
    for order in (objects, objects[::-1]):
        np.testing.assert_array_equal(class_mask(order, (20, 30)), wanted)
