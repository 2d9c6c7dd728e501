"""Twice the resolution, and more, by linear interpolation of NumPy."""

import numpy as np
import pytest

from ema_jax.enlarge import double, enlarge
from tests.quick import run


def between(line: np.ndarray, size: int) -> np.ndarray:
    """Linear interpolation at 0, ½, 1, …; the last value goes on."""
    return np.interp(np.arange(size) / 2, np.arange(len(line)), line)


@pytest.mark.parametrize("shape", [(5, 7), (6, 8), (5, 8)])
def test_double_is_linear_and_repeats_the_last(shape):
    x = np.random.default_rng(0).normal(size=(3, 4))
    expected = np.stack([between(column, shape[0]) for column in x.T], axis=1)
    expected = np.stack([between(row, shape[1]) for row in expected])
    x = np.float32(x)[None, ..., None]
    actual = np.asarray(run(double, x, None, np.ones((1, *shape), bool)))
    np.testing.assert_allclose(actual[0, ..., 0], expected, rtol=1e-6)


def test_double_stops_at_the_mask():
    x = np.float32([[1.0, 3.0, 99.0], [99.0, 99.0, 99.0]])[None, ..., None]
    mask = np.array([[True, True, False], [False, False, False]])[None]
    actual = np.asarray(run(double, x, mask, np.ones((1, 3, 5), bool)))[0, ..., 0]
    np.testing.assert_array_equal(actual[0, :4], [1, 2, 3, 3])
    np.testing.assert_array_equal(actual[1, :4], [1, 2, 3, 3])


def test_enlarge_is_linear_between_strides_16_and_4():
    x = np.float32([0.0, 4.0, 8.0])[None, None, :, None]
    actual = np.asarray(run(enlarge, x, None, np.ones((1, 1, 9), bool)))
    np.testing.assert_array_equal(actual[0, 0, :, 0], np.arange(9))


def test_sides_that_do_not_nest_are_named():
    with pytest.raises(ValueError, match=r"\(3, 3\) pixels are not \(4, 4\) halved"):
        enlarge(np.ones((1, 3, 3, 1)), None, np.ones((1, 4, 4)))


def test_enlarge_stops_at_the_mask():
    """Of an image whose side at the lower stride is even."""
    x = np.float32([1.0, 3.0, 99.0])[None, None, :, None]
    mask = np.array([True, True, True, True, False])[None, None]
    actual = np.asarray(run(enlarge, x, mask, np.ones((1, 1, 5), bool)))
    np.testing.assert_array_equal(actual[0, 0, :4, 0], [1, 2, 3, 3])
