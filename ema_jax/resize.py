"""Bilinear resizing as two matrix products, in both conventions.

`jax.image.resize` places pixel centres at half-integers and filters when it shrinks.
Networks trained with `align_corners=True` need the corner pixels of both grids to
coincide; the others need half-integers, but never a filter.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from ema_jax.operation import Operation
from ema_jax.prepare import on_explicit_axes, wide_type

EXACT = lax.Precision.HIGHEST
"""Accelerators would round values to 8 or 10 bits by default."""


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


def interpolation_matrices(
    sizes: Array,
    new_sizes: Array,
    shape: tuple[int, int],
    *,
    align_corners: bool = True,
    mirror: bool = False,
) -> Array:
    """`interpolation_matrix` of every image of a batch, all on one canvas.

    Args:
        sizes, new_sizes: (B,), samples of each image before and after.
        shape: samples of the canvas after and before.
        align_corners: as in `interpolation_matrix`.
        mirror: first reverse each image within its size.

    Returns:
        (B, *shape), float32; rows beyond a new size continue the last one.

    Example:
        >>> sizes, new_sizes = jnp.array([2, 1]), jnp.array([3, 2])
        >>> interpolation_matrices(sizes, new_sizes, (3, 2))[0]
        Array([[1. , 0. ],
               [0.5, 0.5],
               [0. , 1. ]], dtype=float32)
    """
    size = jnp.maximum(sizes, 1).astype(jnp.float32)[:, None]
    new_size = jnp.maximum(new_sizes, 1).astype(jnp.float32)[:, None]
    output = jnp.arange(shape[0])
    if align_corners:
        source = output * ((size - 1) / jnp.maximum(new_size - 1, 1))
    else:
        source = (output + 0.5) * size / new_size - 0.5
    source = jnp.clip(source, 0, size - 1)
    source = size - 1 - source if mirror else source
    distance = jnp.abs(source[:, :, None] - jnp.arange(shape[1]))
    return jnp.maximum(0, 1 - distance)


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
    return _interpolate(x, rows, columns)


def resize_each(
    x: Array,
    sizes: Array,
    new_sizes: Array,
    shape: tuple[int, int],
    *,
    align_corners: bool = True,
    mirror: bool = False,
) -> Array:
    """`resize_bilinear` of each image of a batch from its size to its new one.

    Args:
        x: (B, h, w, C); the images lie at the top left.
        sizes, new_sizes: (B, 2), heights and widths before and after.
        shape: H and W of the new canvas.
        align_corners: as in `resize_bilinear`.
        mirror: first flip each image left to right.

    Returns:
        (B, H, W, C); beyond an image, what its last row and column continue to.

    Example:
        >>> x = jnp.array([[[[0.0], [1.0], [9.0]]]])  # an image of 1×2 on a canvas
        >>> sizes, new_sizes = jnp.array([[1, 2]]), jnp.array([[1, 3]])
        >>> resize_each(x, sizes, new_sizes, (1, 4))[0, 0, :, 0]
        Array([0. , 0.5, 1. , 1. ], dtype=float32)
    """
    rows, columns = (
        interpolation_matrices(
            sizes[:, axis],
            new_sizes[:, axis],
            (shape[axis], x.shape[1 + axis]),
            align_corners=align_corners,
            mirror=mirror and axis == 1,
        )
        for axis in (0, 1)
    )
    return _interpolate(x, rows, columns)


def resize_on_canvas(x: Array, mask: Array, new_mask: Array) -> Array:
    """`resize_each` without aligned corners, between sizes that masks mark.

    Half-pixel centres move with the ratio of the sizes, which is that of the image
    and not that of the canvas; so every image has its own two matrices.

    Args:
        x: (B, h, w, C); the images lie at the top left.
        mask: (B, h, w), true on the image.
        new_mask: (B, H, W), true where the resized image lies.
    """
    shape = (new_mask.shape[1], new_mask.shape[2])
    sizes, new_sizes = sizes_of(mask), sizes_of(new_mask)
    return resize_each(x, sizes, new_sizes, shape, align_corners=False)


def sizes_of(mask: Array) -> Array:
    """Heights and widths (B, 2) of images that a mask (B, H, W) marks."""
    rows, columns = mask.any(axis=2), mask.any(axis=1)
    return jnp.stack([rows.sum(axis=1), columns.sum(axis=1)], axis=1)


def _interpolate(x: Array, rows: ArrayLike, columns: ArrayLike) -> Array:
    """Both matrices, (H, h) and (W, w) or one of each an image, applied to x."""
    rows, columns = jnp.asarray(rows), jnp.asarray(columns)
    if on_explicit_axes(x):
        return _as_they_lie(x, rows, columns)
    return INTERPOLATION(x, rows, columns)


def _as_they_lie(x: Array, rows: Array, columns: Array) -> Array:
    """In the order of x; compilers for accelerators choose their own."""
    # Columns first: the wide intermediate is then made once, along the rows.
    wide = x.astype(wide_type(x.dtype))
    x_hWc = jnp.einsum("...hwc,...Ww->...hWc", wide, columns, precision=EXACT)
    x_HWc = jnp.einsum("...hWc,...Hh->...HWc", x_hWc, rows, precision=EXACT)
    return x_HWc.astype(x.dtype)


def _channels_before_columns(x: Array, rows: Array, columns: Array) -> Array:
    """So that no factor of a product is turned in memory, there and back."""
    wide = x.astype(wide_type(x.dtype)).swapaxes(-1, -2)
    x_hcW = jnp.einsum("...hcw,...Ww->...hcW", wide, columns, precision=EXACT)
    *batch, height, channels, width = x_hcW.shape
    rows = jnp.broadcast_to(rows, (*batch, *rows.shape[-2:]))
    lines = x_hcW.reshape(*batch, height, channels * width)
    x_HcW = jnp.matmul(rows, lines, precision=EXACT)
    x_HcW = x_HcW.reshape(*batch, rows.shape[-2], channels, width)
    return x_HcW.swapaxes(-1, -2).astype(x.dtype)


def _back(gradient: Array, rows: Array, columns: Array) -> Array:
    """The gradient by x."""
    return INTERPOLATION(gradient, rows.swapaxes(-1, -2), columns.swapaxes(-1, -2))


INTERPOLATION: Operation = Operation(
    "interpolation", _channels_before_columns, _as_they_lie, {0: _back}
)
