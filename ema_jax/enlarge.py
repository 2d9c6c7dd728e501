"""Bilinear enlargement by powers of two, which knows where an image ends.

Pixel 2i of the result is pixel i, and between two lies their mean: with sides 2n-1 that
is bilinear with aligned corners, for every image of a canvas whatever the sides of the
canvas. Each row needs itself and the next one, so rows split over devices stay there
but for one that its neighbour sends.
"""

import jax.numpy as jnp
from jax import Array, lax

from ema_jax.layers import subsample_mask


def enlarge(x: Array, mask: Array | None, like: Array) -> Array:
    """`double` until `x` has the height and width of `like`.

    Args:
        x: (B, h, w, C), one pixel for each 2ⁿ×2ⁿ of `like`.
        mask: (B, H, W), true on the image, at the top left.
        like: (B, H, W, …).

    Returns:
        (B, H, W, C), with any values where no image is.

    Raises:
        ValueError: halving `like`, rounded up, never gives the sides of `x`.

    Example:
        >>> x = jnp.array([[[[0.0], [4.0]]]])
        >>> enlarge(x, None, jnp.ones((1, 1, 5)))[0, 0, :, 0]
        Array([0., 1., 2., 3., 4.], dtype=float32)
    """
    if x.shape[1:3] == like.shape[1:3]:
        return x
    _check_sides(x.shape[1:3], like.shape[1:3])
    small = subsample_mask(mask, 2)
    return double(enlarge(x, small, like[:, ::2, ::2]), small, like)


def _check_sides(small: tuple[int, ...], large: tuple[int, ...]) -> None:
    halved = large
    while halved != small:
        if max(halved) == 1:
            raise ValueError(
                f"{small} pixels are not {large} halved and rounded up, however often; "
                "let the stages of the backbone have ⌈side/2⌉ pixels"
            )
        halved = tuple(-(-side // 2) for side in halved)


def double(x: Array, mask: Array | None, like: Array) -> Array:
    """Twice the resolution; the inverse of `subsample_mask(…, 2)` in size.

    At an even side, and where the mask ends, the last pixel repeats.

    Args:
        x: (B, h, w, C).
        mask: (B, h, w), true on the image, at the top left.
        like: (B, H, W, …), whose sides are twice those of `x` or one less.

    Returns:
        (B, H, W, C), with any values where no image is.

    Example:
        >>> double(jnp.array([[[[0.0], [1.0]]]]), None, jnp.ones((1, 1, 4)))[0, 0, :, 0]
        Array([0. , 0.5, 1. , 1. ], dtype=float32)
    """
    present = jnp.ones(x.shape[:3], bool) if mask is None else mask
    x, present = _double_rows(x, present)
    x, _ = _double_rows(x.swapaxes(1, 2), present.swapaxes(1, 2))
    return x.swapaxes(1, 2)[:, : like.shape[1], : like.shape[2]]


def _double_rows(x: Array, present: Array) -> tuple[Array, Array]:
    """(B, h, w, C) and (B, h, w) to (B, 2h, w, C) and (B, 2h, w)."""
    follows = _next_rows(present)[..., None]
    between = jnp.where(follows, (x + _next_rows(x)) / 2, x)
    batch, height, *rest = x.shape
    rows = jnp.stack([x, between], axis=2).reshape(batch, 2 * height, *rest)
    return rows, jnp.repeat(present, 2, axis=1)


def _next_rows(x: Array) -> Array:
    """Row i+1 in the place of row i, and zeros in that of the last."""
    padding = [(0, 0, 0)] * x.ndim
    padding[1] = (-1, 1, 0)
    return lax.pad(x, jnp.zeros((), x.dtype), padding)
