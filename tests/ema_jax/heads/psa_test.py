"""The over-complete map of point-wise spatial attention."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ema_jax.backbones import Features
from ema_jax.heads import PSAHead
from ema_jax.heads.psa import ABSENT, between_pixels
from tests.quick import run


@pytest.mark.parametrize("size", [(7, 9), (5, 3), (1, 13)])
def test_every_pair_of_pixels_reads_its_offset(size):
    """Maps that fit, that are too small and that are too large, by a loop."""
    height, width = 4, 5
    maps = np.random.default_rng(0).normal(size=(2, height, width, *size))
    expected = np.full((2, height, width, height, width), ABSENT)
    middle = np.array(size) // 2
    for *at, row, column in np.ndindex(expected.shape[1:]):
        place = middle + np.array((row, column)) - at
        if (place >= 0).all() and (place < size).all():
            expected[:, *at, row, column] = maps[:, *at, *place]
    actual = run(between_pixels, maps.astype(np.float32))
    expected = expected.reshape(2, height * width, -1).astype(np.float32)
    np.testing.assert_array_equal(actual, expected)


def test_an_even_map_is_refused():
    stages = (Features(jnp.ones((1, 5, 5, 4)), None),)
    with pytest.raises(ValueError, match="map_size=8; give an odd number"):
        PSAHead(3, map_size=8).init(jax.random.key(0), stages, train=False)
