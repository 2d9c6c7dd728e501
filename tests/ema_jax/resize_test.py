"""Aligned-corner resizing against a float64 loop."""

import jax.numpy as jnp
import numpy as np
import pytest

from ema_jax.resize import resize_align_corners


def bilinear(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Each output pixel reads the input at i·(h-1)/(H-1)."""
    h, w, channels = x.shape
    out = np.zeros((height, width, channels))
    for i in range(height):
        for j in range(width):
            y = i * (h - 1) / (height - 1) if height > 1 else 0.0
            z = j * (w - 1) / (width - 1) if width > 1 else 0.0
            y0, z0 = min(int(y), h - 1), min(int(z), w - 1)
            y1, z1 = min(y0 + 1, h - 1), min(z0 + 1, w - 1)
            top = x[y0, z0] * (1 - (z - z0)) + x[y0, z1] * (z - z0)
            bottom = x[y1, z0] * (1 - (z - z0)) + x[y1, z1] * (z - z0)
            out[i, j] = top * (1 - (y - y0)) + bottom * (y - y0)
    return out


@pytest.mark.parametrize(
    ("size", "new_size"), [((5, 7), (33, 49)), ((9, 4), (3, 10)), ((1, 3), (4, 1))]
)
def test_equals_the_loop(size, new_size):
    x = np.random.default_rng(0).standard_normal((2, *size, 3)).astype(np.float32)
    y = resize_align_corners(jnp.asarray(x), new_size)
    for image, resized in zip(x, y, strict=True):
        np.testing.assert_allclose(resized, bilinear(image, *new_size), atol=1e-5)


def test_keeps_the_type():
    x = jnp.ones((1, 2, 2, 1), jnp.bfloat16)
    assert resize_align_corners(x, (3, 3)).dtype == jnp.bfloat16


@pytest.mark.parametrize(("shape", "new"), [((2, 2), (3, 3)), ((2, 2, 1), (0, 3))])
def test_errors_name_the_value(shape, new):
    with pytest.raises(ValueError, match="shape"):
        resize_align_corners(jnp.ones(shape), new)
