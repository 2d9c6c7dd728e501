"""Normalisation and the mask of real pixels, against loops."""

import jax.numpy as jnp
import numpy as np

from ema_jax.preprocessing import IMAGENET


def test_normalization_of_known_colours():
    """ImageNet's mean and deviation, in RGB order."""
    image = np.array([[[[0, 0, 0], [255, 255, 255], [51, 102, 204]]]], np.uint8)
    wanted = [
        [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225],
        [0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225],
        [(0.2 - 0.485) / 0.229, (0.4 - 0.456) / 0.224, (0.8 - 0.406) / 0.225],
    ]
    normalized = IMAGENET.normalize(jnp.array(image), jnp.ones((1, 1, 3), bool))
    assert normalized.dtype == jnp.float32
    np.testing.assert_allclose(normalized[0, 0], wanted, rtol=1e-5)


def test_padding_is_zero_after_normalization():
    image = jnp.full((1, 2, 2, 3), 200, jnp.uint8)
    mask = jnp.array([[[True, False], [True, True]]])
    normalized = np.asarray(IMAGENET.normalize(image, mask))
    assert (normalized[0, 0, 1] == 0).all()
    assert (normalized[0][np.asarray(mask[0])] > 1).all()
