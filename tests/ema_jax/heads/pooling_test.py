"""Image pooling."""

import numpy as np

from ema_jax.heads.deeplab import spatial_mean
from tests.quick import run


def test_the_mean_is_that_of_the_pixels_that_exist():
    x = np.float32([[1.0, 3.0, 99.0], [9.0, 9.0, 9.0]])[:, None, :, None]
    mask = np.array([[True, True, False], [False, False, False]])[:, None]
    masked, whole = run(lambda x: (spatial_mean(x, mask), spatial_mean(x, None)), x)
    np.testing.assert_array_equal(np.ravel(masked), [2, 0])
    np.testing.assert_allclose(np.ravel(whole), [103 / 3, 9])
