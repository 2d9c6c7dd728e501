"""Max-pooling, by what is fast on the machine that runs it."""

from collections.abc import Iterator
from functools import reduce

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax

from ema_jax.operation import Operation
from ema_jax.shifts import Window, shifts


def max_pool(x: Array) -> Array:
    """The largest of each 3×3 window, two pixels apart, as in the stem of a ResNet.

    `y[b, i, j] = max x[b, 2i + u, 2j + v]`, u and v from -1 to 1, within the image. The
    gradient goes to the first of equals. On CPUs it is made of shifted images: XLA's
    own counts the positions of all windows, and takes several times as long.

    Args:
        x: images (B, H, W, C).

    Returns:
        (B, ⌈H/2⌉, ⌈W/2⌉, C).

    Example:
        >>> max_pool(jnp.arange(16.0).reshape(1, 4, 4, 1))[0, ..., 0]
        Array([[ 5.,  7.],
               [13., 15.]], dtype=float32)
    """
    if not all(isinstance(side, int) for side in x.shape[1:]):  # for any size
        return by_windows(x)
    return _max_pool(x)


@jax.custom_jvp
def _max_pool(x: Array) -> Array:
    return LARGEST(x)


@_max_pool.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    [x], [tangent] = primals, tangents
    y = _max_pool(x)
    return y, CHOSEN(tangent, x, y)


def by_windows(x: Array) -> Array:
    return nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))


def _chosen_by_windows(values: Array, x: Array, _: Array) -> Array:
    return jax.jvp(by_windows, (x,), (values,))[1]


def _spread_by_windows(gradient: Array, x: Array, _: Array) -> Array:
    return jax.vjp(by_windows, x)[1](gradient)[0]


def by_shifts(x: Array) -> Array:
    return reduce(jnp.maximum, _windows(x))


def _windows(x: Array, beside: float = -jnp.inf) -> Iterator[Array]:
    """What lies under each of the nine places of all windows, (B, h, w, C), by rows."""
    margin = ((0, 0), (1, 1), (1, 1), (0, 0))
    padded = jnp.pad(x, margin, constant_values=beside)
    window = Window(stride=2)
    return shifts(padded, tuple(map(window.outputs, x.shape[1:3])), 3, window)


def _first(x: Array, y: Array) -> Array:
    """Where each window has its largest value first, from 0 to 8."""
    first = jnp.zeros(y.shape, jnp.int8)
    for place, seen in reversed(list(enumerate(_windows(x)))):
        first = jnp.where(seen == y, jnp.int8(place), first)
    return lax.optimization_barrier(first)  # or each place would look for it anew


def _chosen_by_shifts(values: Array, x: Array, y: Array) -> Array:
    places = list(_windows(values, 0))
    return lax.select_n(_first(x, y).astype(jnp.int32), *places)


def _spread_by_shifts(gradient: Array, x: Array, y: Array) -> Array:
    first = _first(x, y)
    shares = [jnp.where(first == place, gradient, 0) for place in range(9)]
    rows = [_interleave(*shares[top : top + 3], axis=2) for top in (0, 3, 6)]
    return _interleave(*rows, axis=1)[:, : x.shape[1], : x.shape[2]]


def _interleave(before: Array, at: Array, after: Array, *, axis: int) -> Array:
    """Shares of windows along an axis, for the pixels that lie there.

    Window i has its share `at` on pixel 2i, and those `before` and `after` beside it.
    """
    following = lax.slice_in_dim(before, 1, None, axis=axis)
    margins = [(0, int(i == axis)) for i in range(at.ndim)]
    between = after + jnp.pad(following, margins)
    shape = list(at.shape)
    shape[axis] *= 2
    return jnp.stack([at, between], axis + 1).reshape(shape)


LARGEST = Operation("max_pool", by_shifts, by_windows)

CHOSEN: Operation = Operation(
    "max_pool_values",
    _chosen_by_shifts,
    _chosen_by_windows,
    {0: lambda gradient, x, y: SPREAD(gradient, x, y)},
)
"""Of other values, those that lie where the largest do."""

SPREAD: Operation = Operation(
    "max_pool_gradient",
    _spread_by_shifts,
    _spread_by_windows,
    {0: CHOSEN},
)
"""Its transpose."""
