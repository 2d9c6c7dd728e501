"""Bilinear resizing with aligned corners, as two matrix products.

`jax.image.resize` places pixel centres at half-integers; segmentation networks
trained with `align_corners=True` need the corner pixels of both grids to coincide.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array, lax


def interpolation_matrix(size: int, new_size: int) -> np.ndarray:
    """Weights of linear interpolation from `size` samples to `new_size`.

    Output i reads the input at `i · (size-1)/(new_size-1)`; each row sums to one.

    Returns:
        (new_size, size), float32.

    Example:
        >>> interpolation_matrix(2, 3)
        array([[1. , 0. ],
               [0.5, 0.5],
               [0. , 1. ]], dtype=float32)
    """
    source = np.linspace(0, size - 1, new_size)
    distance = np.abs(source[:, None] - np.arange(size)[None, :])
    return np.maximum(0, 1 - distance).astype(np.float32)


def resize_align_corners(x: Array, shape: tuple[int, int]) -> Array:
    """Bilinear resize of (..., H, W, C) to `shape`, corner pixels coinciding.

    Computed in float32 or wider and returned in the type of `x`. The same as
    `torch.nn.functional.interpolate(mode="bilinear", align_corners=True)`.

    Raises:
        ValueError: `x` has fewer than three axes, or a size is below one.

    Example:
        >>> resize_align_corners(jnp.array([[[0.0], [1.0]]]), (1, 3))[0, :, 0]
        Array([0. , 0.5, 1. ], dtype=float32)
    """
    if x.ndim < 3:
        raise ValueError(f"x has shape {x.shape}; give (..., H, W, C)")
    if min(shape) < 1:
        raise ValueError(f"shape {shape} has a size below one")
    rows = interpolation_matrix(x.shape[-3], shape[0])
    columns = interpolation_matrix(x.shape[-2], shape[1])
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    # Columns first: the wide intermediate is then made once, along the rows.
    # Full precision: accelerators would round the values to 8 or 10 bits by default.
    exact = lax.Precision.HIGHEST
    x_hWc = jnp.einsum("...hwc,Ww->...hWc", x.astype(dtype), columns, precision=exact)
    x_HWc = jnp.einsum("...hWc,Hh->...HWc", x_hWc, rows, precision=exact)
    return x_HWc.astype(x.dtype)
