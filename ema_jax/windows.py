"""Overlapping windows of images of many sizes: where they lie, cut out and blended.

Where an image's windows lie depends on its own size alone, whatever its canvas.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jax.typing import ArrayLike

from ema_jax.components import einsum
from ema_jax.prepare import wide_type

OVERLAP = 1 / 3
"""Share of a window that the next one sees again."""


def step_of(side: int, overlap: float = OVERLAP) -> int:
    """Pixels from the start of a window to that of the next."""
    return max(1, int(side * (1 - overlap)))


def count(length: int, side: int, step: int) -> int:
    """Windows along a canvas that is no shorter than one.

    Example:
        >>> count(9, 9, 6), count(10, 9, 6), count(15, 9, 6), count(16, 9, 6)
        (1, 2, 2, 3)
    """
    return -(-(length - side) // step) + 1


def place(
    index: Array, length: ArrayLike, side: ArrayLike, step: ArrayLike
) -> tuple[Array, Array]:
    """Where a window starts along an image of a length, and whether it has that one.

    Windows start every `step` pixels, the last one at the end of the image less
    `side`; an image within the window has one. A canvas may hold more windows than
    the image has.

    Example:
        >>> starts, exist = place(jnp.arange(4), 20, side=9, step=6)
        >>> starts.tolist(), exist.tolist()
        ([0, 6, 11, 11], [True, True, True, False])
    """
    last = jnp.maximum(jnp.asarray(length) - side, 0)
    start = index * step
    return jnp.minimum(start, last), start - step < last


class Windows(NamedTuple):
    """Windows of a batch of images, by two products along each axis.

    Attributes:
        rows: (..., I, h, H), one where row h of window i is row H of the canvas; a
            window that an image does not have is empty. With a mask the leading axis is
            B, else all images have the same.
        columns: (..., J, w, W) likewise.
    """

    rows: Array
    columns: Array

    def cut(self, x: Array) -> Array:
        """(B, H, W, C) to the tokens of each window (B, I·J, h·w, C), in a wide type.

        Absent windows are zeros. What one window holds must be finite, or all windows
        are not: 0 · NaN is NaN.
        """
        x = _unsplit(x.astype(wide_type(x.dtype)))
        rows, columns = self.rows.astype(x.dtype), self.columns.astype(x.dtype)
        x_BHJwC = einsum("...jwW,...HWc->...Hjwc", columns, x)
        x_BIhJwC = einsum("...ihH,...Hjwc->...ijhwc", rows, x_BHJwC)
        # One pair of axes at a time: a mesh of explicit axes asks for that.
        return lax.collapse(lax.collapse(x_BIhJwC, 1, 3), 2, 4)

    def cut_mask(self, mask: Array) -> Array:
        """(B, H, W) to (B, I·J, h·w)."""
        return self.cut(mask[..., None].astype(jnp.float32))[..., 0] > 0.5

    def blend(self, tokens: Array) -> Array:
        """Tokens (B, I·J, h·w, C) to the mean over the windows at a pixel (B, H, W, C).

        A window weighs there by how deep inside of it the pixel lies, along the rows
        times along the columns: its edge is 1. The shares of the windows sum to one.
        """
        rows = _shares(self.rows.astype(tokens.dtype))
        columns = _shares(self.columns.astype(tokens.dtype))
        (i, h), (j, w) = rows.shape[-3:-1], columns.shape[-3:-1]
        batch, number, _, channels = tokens.shape
        pieces = tokens.reshape(batch, number, h, w, channels)
        pieces = pieces.reshape(batch, i, j, h, w, channels)
        x_BHJwC = einsum("...ihH,...ijhwc->...Hjwc", rows, pieces)
        return einsum("...jwW,...Hjwc->...HWc", columns, x_BHJwC)


def windows_over(
    shape: tuple[int, int], window: tuple[int, int], mask: Array | None = None
) -> Windows | None:
    """The windows of each image of a canvas, or None where it is within one.

    Args:
        shape: of the canvas, H and W.
        window: height and width.
        mask: (B, H, W), true where a token exists. An image reaches from its first row
            with one to its last, and so do its columns.

    Example:
        >>> windows = windows_over((9, 13), (9, 9))
        >>> x = jax.random.normal(jax.random.key(0), (2, 9, 13, 3))
        >>> windows.cut(x).shape
        (2, 2, 81, 3)
        >>> bool(jnp.allclose(windows.blend(windows.cut(x)), x, atol=1e-5))
        True
        >>> windows_over((9, 9), (9, 9)) is None
        True
    """
    if shape[0] <= window[0] and shape[1] <= window[1]:
        return None
    reach = [(jnp.int32(0), jnp.int32(length)) for length in shape]
    if mask is not None:
        mask = _unsplit(mask)
        reach = [_reach(mask.any(axis=2)), _reach(mask.any(axis=1))]
    rows, columns = (
        _selection(*reach[axis], window[axis], shape[axis]) for axis in (0, 1)
    )
    return Windows(rows, columns)


def mean_over_windows(values: Array, mask: Array | None) -> Array:
    """(B, I·J, ...) to the mean over the windows that have a token, (B, ...)."""
    if mask is None:
        return jnp.mean(values, axis=1)
    counted = mask.any(axis=-1)
    wide = counted.reshape(*counted.shape, *(1,) * (values.ndim - 2))
    total = jnp.sum(jnp.where(wide, values, 0), axis=1)
    number = jnp.sum(counted, axis=1, dtype=total.dtype)
    return total / jnp.maximum(number, 1).reshape(-1, *(1,) * (total.ndim - 1))


def split_like(x: Array, other: Array) -> Array:
    """The same, split over the devices of an explicit mesh as another one is."""
    given = jax.typeof(other).sharding
    explicit = AxisType.Explicit in given.mesh.axis_types
    return jax.sharding.reshard(x, given) if explicit else x


def _reach(exists: Array) -> tuple[Array, Array]:
    """First token along an axis (B, L), and the length from it to the last, (B,)."""
    first, beyond = jnp.argmax(exists, axis=1), jnp.argmax(exists[:, ::-1], axis=1)
    return first, exists.shape[1] - beyond - first


def _selection(first: Array, size: Array, side: int, length: int) -> Array:
    """(..., n, side, length): `Windows` along one axis."""
    step, side = step_of(side), min(side, length)
    number = count(length, side, step) if side < length else 1
    start, exists = place(jnp.arange(number), size[..., None], side, step)
    # A window that is larger than its image may end at the canvas.
    start = jnp.minimum(first[..., None] + start, length - side)
    positions = start[..., None] + jnp.arange(side)
    selected = positions[..., None] == jnp.arange(length)
    return (selected & exists[..., None, None]).astype(jnp.float32)


def _shares(selection: Array) -> Array:
    """What each window gives to a pixel, along one axis; its sum over them is one."""
    side = selection.shape[-2]
    depth = jnp.minimum(jnp.arange(side) + 1, side - jnp.arange(side))
    weights = selection * depth[:, None].astype(selection.dtype)
    return weights / jnp.maximum(weights.sum(axis=(-3, -2), keepdims=True), 1)


def _unsplit(x: Array) -> Array:
    """The same, split over devices along the batch alone, where a mesh is explicit."""
    given = jax.typeof(x).sharding
    if AxisType.Explicit not in given.mesh.axis_types:
        return x
    whole = PartitionSpec(*given.spec[:1], *(None,) * (x.ndim - 1))
    return jax.sharding.reshard(x, NamedSharding(given.mesh, whole))
