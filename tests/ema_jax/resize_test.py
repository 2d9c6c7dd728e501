"""Bilinear resizing against float64 loops."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ema_jax.resize import resize_bilinear, resize_each, resize_on_canvas
from tests.quick import run


def aligned(i: int, size: int, new_size: int) -> float:
    """Where output i reads: at i·(h-1)/(H-1)."""
    return i * (size - 1) / (new_size - 1) if new_size > 1 else 0.0


def half_pixel(i: int, size: int, new_size: int) -> float:
    """At the centre of output pixel i, kept inside the centres of the input's."""
    return min(max((i + 0.5) * size / new_size - 0.5, 0.0), size - 1.0)


def bilinear(x: np.ndarray, height: int, width: int, source=aligned) -> np.ndarray:
    """Each output pixel mixes the four around the place that it reads."""
    h, w, channels = x.shape
    out = np.zeros((height, width, channels))
    for i in range(height):
        for j in range(width):
            y, z = source(i, h, height), source(j, w, width)
            y0, z0 = min(int(y), h - 1), min(int(z), w - 1)
            y1, z1 = min(y0 + 1, h - 1), min(z0 + 1, w - 1)
            top = x[y0, z0] * (1 - (z - z0)) + x[y0, z1] * (z - z0)
            bottom = x[y1, z0] * (1 - (z - z0)) + x[y1, z1] * (z - z0)
            out[i, j] = top * (1 - (y - y0)) + bottom * (y - y0)
    return out


SIZES = [((5, 7), (33, 49)), ((9, 4), (3, 10)), ((1, 3), (4, 1))]


@pytest.mark.parametrize("source", [aligned, half_pixel])
@pytest.mark.parametrize(("size", "new_size"), SIZES)
def test_equals_the_loop(size, new_size, source):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, *size, 3)).astype(np.float32)
    cotangent = rng.standard_normal((2, *new_size, 3)).astype(np.float32)

    def resized(x, cotangent):
        aligns = source is aligned
        y, pull = jax.vjp(
            partial(resize_bilinear, shape=new_size, align_corners=aligns), x
        )
        return y, *pull(cotangent)

    y, gradient = map(np.asarray, run(resized, x, cotangent))
    expected = np.stack([bilinear(image, *new_size, source) for image in x])
    np.testing.assert_allclose(y, expected, atol=1e-5)
    product = np.sum(gradient.astype(float) * x)  # as of any linear function's
    np.testing.assert_allclose(product, np.sum(cotangent * expected), rtol=1e-5)


@pytest.mark.parametrize(
    ("source", "mirror"), [(aligned, False), (aligned, True), (half_pixel, False)]
)
def test_each_image_on_a_canvas_equals_the_loop(source, mirror):
    x = np.random.default_rng(0).standard_normal((4, 9, 7, 2)).astype(np.float32)
    sizes, new_sizes = (
        np.array([*column, (0, 0)]) for column in zip(*SIZES, strict=True)
    )
    options = {"align_corners": source is aligned, "mirror": mirror}

    def resized(x, *sizes):
        y, pull = jax.vjp(lambda x: resize_each(x, *sizes, (40, 50), **options), x)
        return y, *pull(jnp.sin(y))

    y, gradient = map(np.asarray, run(resized, x, sizes, new_sizes))
    assert np.isfinite(y).all()  # of the canvas without an image, too
    product = np.sum(gradient.astype(float) * x)
    np.testing.assert_allclose(product, np.sum(np.sin(y) * y), rtol=1e-5)
    for image, ((h, w), (height, width)) in enumerate(SIZES):
        before = x[image, :h, :w]
        before = before[:, ::-1] if mirror else before
        expected = bilinear(before, height, width, source)
        np.testing.assert_allclose(y[image, :height, :width], expected, atol=1e-5)


def test_masks_say_the_sizes():
    x = np.random.default_rng(0).standard_normal((3, 9, 7, 2)).astype(np.float32)
    mask, new_mask = np.zeros((3, 9, 7), bool), np.zeros((3, 40, 50), bool)
    for image, (size, new_size) in enumerate(SIZES):
        mask[image, : size[0], : size[1]] = True
        new_mask[image, : new_size[0], : new_size[1]] = True
    y = np.asarray(run(resize_on_canvas, x, mask, new_mask))
    for image, ((h, w), (height, width)) in enumerate(SIZES):
        expected = bilinear(x[image, :h, :w], height, width, half_pixel)
        np.testing.assert_allclose(y[image, :height, :width], expected, atol=1e-5)


def test_keeps_the_type():
    x = jax.ShapeDtypeStruct((1, 2, 2, 1), jnp.bfloat16)
    y = jax.eval_shape(lambda x: resize_bilinear(x, (3, 3), align_corners=True), x)
    assert y.dtype == jnp.bfloat16


@pytest.mark.parametrize(("shape", "new"), [((2, 2), (3, 3)), ((2, 2, 1), (0, 3))])
def test_errors_name_the_value(shape, new):
    with pytest.raises(ValueError, match="shape"):
        resize_bilinear(np.ones(shape), new, align_corners=True)
