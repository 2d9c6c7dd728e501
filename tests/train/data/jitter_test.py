"""Colour jitter against its formulas in floating point."""

import colorsys

import numpy as np
import pytest

from train.data.jitter import jitter

IMAGE = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
GREY = IMAGE @ np.array([0.299, 0.587, 0.114])


class Scripted:
    """A generator whose order is fixed and whose draws are the upper ends."""

    def __init__(self, order):
        self.order = order

    def permutation(self, count):
        assert count == len(self.order)
        return self.order

    def uniform(self, low, high):
        return high


def blend(other: np.ndarray, factor: float) -> np.ndarray:
    return np.clip(other + factor * (IMAGE - other), 0, 255)


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        (0, blend(np.zeros(IMAGE.shape), 1.5)),
        (1, blend(np.full(IMAGE.shape, GREY.mean()), 1.5)),
        (2, blend(np.repeat(GREY[..., None], 3, -1), 1.5)),
    ],
)
def test_each_moves_away_from_its_zero(which, expected):
    strength = [0.0] * 4
    strength[which] = 0.5
    found = jitter(IMAGE, Scripted([0, 1, 2, 3]), strength)
    np.testing.assert_allclose(found, expected, atol=1.5)


def test_hue_is_turned():
    found = jitter(IMAGE, Scripted([3, 2, 1, 0]), (0, 0, 0, 0.25))
    for before, after in zip(IMAGE.reshape(-1, 3), found.reshape(-1, 3), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*(before / 255.0))
        expected = colorsys.hsv_to_rgb((hue + 0.25) % 1, saturation, value)
        np.testing.assert_allclose(after / 255.0, expected, atol=8 / 255)


def test_draws_are_within_the_strength_and_depend_on_the_generator_alone():
    flat = np.full((2, 2, 3), 100, np.uint8)
    drawn = [
        jitter(flat, np.random.default_rng(seed), (0.4, 0, 0, 0))[0, 0, 0]
        for seed in range(200)
    ]
    assert 60 <= min(drawn) < 64
    assert 136 < max(drawn) <= 140
    again = jitter(IMAGE, np.random.default_rng(5), (0.4, 0.4, 0.4, 0.1))
    first = jitter(IMAGE, np.random.default_rng(5), (0.4, 0.4, 0.4, 0.1))
    np.testing.assert_array_equal(first, again)
    assert (first != IMAGE).any()


def test_none_leaves_image_and_generator():
    rng = np.random.default_rng(0)
    assert jitter(IMAGE, rng, (0.0, 0.0, 0.0, 0.0)) is IMAGE
    assert rng.random() == np.random.default_rng(0).random()
