"""Image pooling."""

import jax.numpy as jnp
import numpy as np

from ema_jax.heads.deeplab import spatial_mean


def test_the_mean_is_that_of_the_pixels_that_exist():
    x = jnp.array([[1.0, 3.0, 99.0], [9.0, 9.0, 9.0]])[:, None, :, None]
    mask = jnp.array([[True, True, False], [False, False, False]])[:, None]
    np.testing.assert_array_equal(spatial_mean(x, mask).ravel(), [2, 0])
    np.testing.assert_allclose(spatial_mean(x, None).ravel(), [103 / 3, 9])
