"""Scores: a loop over pixels, and numbers worked out by hand."""

import jax
import numpy as np
import pytest

from train.evaluation.metrics import confusion_matrix, scores, table

count = jax.jit(confusion_matrix, static_argnums=2)
CONFUSION = np.array([[6, 2, 0, 0], [1, 3, 0, 0], [0, 0, 0, 0], [0, 4, 0, 0]])
"""Class 2 neither occurs nor is predicted, class 3 occurs and is never found."""


def test_confusion_by_a_loop():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, (3, 7, 6)).astype(np.uint8)
    labels[rng.random(labels.shape) < 0.2] = 255
    predictions = rng.integers(0, 5, labels.shape).astype(np.uint8)
    wanted = np.zeros((5, 5), int)
    for true, predicted in zip(labels.flat, predictions.flat, strict=True):
        if true != 255:
            wanted[true, predicted] += 1
    counted = count(labels, predictions, 5)
    np.testing.assert_array_equal(counted, wanted)


def test_counts_are_exact_where_float32_is_not():
    pixels = 2**24 + 1
    zeros = np.zeros(pixels, np.uint8)
    counted = np.asarray(count(zeros, zeros, 2))
    assert np.issubdtype(counted.dtype, np.integer)
    assert counted[0, 0] == pixels
    assert counted.sum() == pixels


def test_nothing_is_counted_where_all_is_ignored():
    ignored = np.full((2, 3), 255, np.uint8)
    counted = count(ignored, np.zeros((2, 3), np.uint8), 3)
    np.testing.assert_array_equal(counted, np.zeros((3, 3)))


def test_scores_by_hand():
    result = scores(CONFUSION)
    np.testing.assert_allclose(result.iou, [6 / 9, 3 / 10, np.nan, 0])
    np.testing.assert_allclose(result.accuracy, [6 / 8, 3 / 4, np.nan, 0])
    np.testing.assert_allclose(result.share, [8 / 16, 4 / 16, 0, 4 / 16])
    assert result.mean_iou == pytest.approx((6 / 9 + 3 / 10 + 0) / 3)
    assert result.class_accuracy == pytest.approx((6 / 8 + 3 / 4 + 0) / 3)
    assert result.pixel_accuracy == pytest.approx(9 / 16)
    assert result.frequency_weighted_iou == pytest.approx(6 / 9 / 2 + 3 / 10 / 4)


def test_a_class_that_is_only_predicted_counts_as_missed():
    result = scores(np.array([[3, 1], [0, 0]]))
    np.testing.assert_allclose(result.iou, [3 / 4, 0])
    assert result.mean_iou == pytest.approx(3 / 8)
    assert result.class_accuracy == pytest.approx(3 / 4)


def test_scores_of_more_pixels_than_32_bits_count():
    many = np.array([[2**40, 1], [1, 2**40]])
    assert scores(many).pixel_accuracy == pytest.approx(1 - 2**-40, abs=1e-15)
    assert scores(many).pixel_accuracy < 1


def test_an_empty_set_has_no_scores():
    result = scores(np.zeros((2, 2)))
    assert np.isnan(result.mean_iou)
    assert np.isnan(result.pixel_accuracy)
    assert np.isnan(result.class_accuracy)


def test_the_table_shows_percent_of_every_class():
    lines = table(scores(CONFUSION), ["sky", "road", "tree", "pedestrian"]).splitlines()
    figures = [line.rsplit(maxsplit=3) for line in lines]
    assert figures[1] == ["sky", "66.67", "75.00", "50.00"]
    assert figures[3] == ["tree", "–", "–", "0.00"]
    assert figures[4] == ["pedestrian", "0.00", "0.00", "25.00"]
    assert figures[5] == ["mean", "32.22", "50.00"]
    assert lines[6].split() == ["pixel", "accuracy", "56.25"]
    assert lines[7].split() == ["fwIoU", "40.83"]
    assert len(lines) == 8
