"""Bilinear resizing as two matrix products, in both conventions.

`jax.image.resize` places pixel centres at half-integers and filters when it shrinks.
Networks trained with `align_corners=True` need the corner pixels of both grids to
coincide; the others need half-integers, but never a filter.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike


def interpolation_matrix(
    size: int, new_size: int, *, align_corners: bool = True
) -> np.ndarray:
    """Weights of linear interpolation from `size` samples to `new_size`.

    Output i reads the input at `i · (size-1)/(new_size-1)`, or without aligned corners
    at `(i+1/2) · size/new_size - 1/2`, kept inside the input; each row sums to one.

    Returns:
        (new_size, size), float32.

    Example:
        >>> interpolation_matrix(2, 3)
        array([[1. , 0. ],
               [0.5, 0.5],
               [0. , 1. ]], dtype=float32)
        >>> interpolation_matrix(2, 4, align_corners=False)
        array([[1.  , 0.  ],
               [0.75, 0.25],
               [0.25, 0.75],
               [0.  , 1.  ]], dtype=float32)
    """
    if align_corners:
        source = np.linspace(0, size - 1, new_size)
    else:
        source = (np.arange(new_size) + 0.5) * size / new_size - 0.5
        source = np.clip(source, 0, size - 1)
    distance = np.abs(source[:, None] - np.arange(size)[None, :])
    return np.maximum(0, 1 - distance).astype(np.float32)


def resize_bilinear(
    x: Array, shape: tuple[int, int], *, align_corners: bool = True
) -> Array:
    """Bilinear resize of (..., H, W, C) to `shape`.

    Computed in float32 or wider and returned in the type of `x`. The same as
    `torch.nn.functional.interpolate(mode="bilinear")` with this `align_corners`.

    Raises:
        ValueError: `x` has fewer than three axes, or a size is below one.

    Example:
        >>> x = jnp.array([[[0.0], [1.0]]])
        >>> resize_bilinear(x, (1, 3))[0, :, 0]
        Array([0. , 0.5, 1. ], dtype=float32)
        >>> resize_bilinear(x, (1, 4), align_corners=False)[0, :, 0]
        Array([0.  , 0.25, 0.75, 1.  ], dtype=float32)
    """
    if x.ndim < 3:
        raise ValueError(f"x has shape {x.shape}; give (..., H, W, C)")
    if min(shape) < 1:
        raise ValueError(f"shape {shape} has a size below one")
    rows, columns = (
        interpolation_matrix(size, new_size, align_corners=align_corners)
        for size, new_size in zip(x.shape[-3:-1], shape, strict=True)
    )
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    # Columns first: the wide intermediate is then made once, along the rows.
    # Full precision: accelerators would round the values to 8 or 10 bits by default.
    exact = lax.Precision.HIGHEST
    x_hWc = jnp.einsum("...hwc,Ww->...hWc", x.astype(dtype), columns, precision=exact)
    x_HWc = jnp.einsum("...hWc,Hh->...HWc", x_hWc, rows, precision=exact)
    return x_HWc.astype(x.dtype)


def resize_align_corners(x: Array, shape: tuple[int, int]) -> Array:
    """Bilinear resize of (..., H, W, C) to `shape`, corner pixels coinciding.

    Example:
        >>> resize_align_corners(jnp.array([[[0.0], [1.0]]]), (1, 3))[0, :, 0]
        Array([0. , 0.5, 1. ], dtype=float32)
    """
    return resize_bilinear(x, shape, align_corners=True)


def resize_on_canvas(x: Array, mask: Array, new_mask: Array) -> Array:
    """`resize_bilinear` without aligned corners, for each image on its canvas.

    Half-pixel centres move with the ratio of the sizes, which is that of the image
    and not that of the canvas; so every image has its own two matrices.

    Args:
        x: (B, h, w, C); the images lie at the top left.
        mask: (B, h, w), true on the image.
        new_mask: (B, H, W), true where the resized image lies.

    Returns:
        (B, H, W, C); beyond the image, what its last row and column continue to.
    """
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    exact = lax.Precision.HIGHEST
    rows, columns = (
        _half_pixel_matrices(
            *(jnp.any(m, axis=3 - axis).sum(axis=1) for m in (mask, new_mask)),
            shape=(new_mask.shape[axis], mask.shape[axis]),
        )
        for axis in (1, 2)
    )
    x_hWc = jnp.einsum("bhwc,bWw->bhWc", x.astype(dtype), columns, precision=exact)
    x_HWc = jnp.einsum("bhWc,bHh->bHWc", x_hWc, rows, precision=exact)
    return x_HWc.astype(x.dtype)


def _half_pixel_matrices(
    sizes: ArrayLike, new_sizes: ArrayLike, *, shape: tuple[int, int]
) -> Array:
    """`interpolation_matrix(…, align_corners=False)` of each size, (B, *shape)."""
    size = jnp.maximum(sizes, 1).astype(jnp.float32)[:, None]
    new_size = jnp.maximum(new_sizes, 1).astype(jnp.float32)[:, None]
    source = (jnp.arange(shape[0])[None] + 0.5) * size / new_size - 0.5
    source = jnp.clip(source, 0, size - 1)
    distance = jnp.abs(source[:, :, None] - jnp.arange(shape[1])[None, None])
    return jnp.maximum(0, 1 - distance)
