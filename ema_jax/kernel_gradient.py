"""The gradient of a convolution by its kernel, from shifted images.

`Σ x[b, i·stride + u·dilation, j·stride + v·dilation] · gradient[b, i, j]`: for a dense
kernel one product a tap, for a depthwise one in bands of rows that stay in the cache.
`benchmarks/convolution.py` measures it against XLA's.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from ema_jax.shifts import Window, frame, reaches, shifts

ROWS = range(4, 14)
"""Of a band; fewer make more rounds, more a program that takes longer to compile."""

CACHED = 2**18
"""Numbers that lie in a core's own cache, and are turned there in no time."""

Band = tuple[Array, Array]
"""The images (1, …) and the gradient (1, rows, …) of a band."""


def kernel_gradient(x: Array, gradient: Array, size: int, window: Window) -> Array:
    """From the images and the gradient by the output; (size, size, C/groups, features).

    Sums are float32 at least.
    """
    by = _depthwise if window.groups > 1 else _dense
    return by(x, gradient, size, window).astype(x.dtype)


def _cut(
    x: Array, gradient: Array, size: int, window: Window, rows: int
) -> tuple[int, Callable[[Array | int], Band]]:
    """How many bands of so many rows of the gradient there are, and each of them.

    The last band of an image ends in rows of zeros.
    """
    batch, height, width, features = gradient.shape
    bands = -(-height // rows)
    below = bands * rows - height
    images = frame(x, size, window, below * window.stride)
    outputs = jnp.pad(gradient, ((0, 0), (0, below), (0, 0), (0, 0)))
    reach = (rows - 1) * window.stride + 1 + window.dilation * (size - 1)

    def band(index: Array | int) -> Band:
        image, top = index // bands, index % bands * rows
        inputs = lax.dynamic_slice(
            images, (image, top * window.stride, 0, 0), (1, reach, *images.shape[2:])
        )
        shape = (1, rows, width, features)
        return inputs, lax.dynamic_slice(outputs, (image, top, 0, 0), shape)

    return batch * bands, band


def _depthwise(x: Array, gradient: Array, size: int, window: Window) -> Array:
    """Products row by row, summed over rows for each column, and at last over columns.

    Columns and channels are contiguous, and a column has no sum in it: such loops are
    vectorized. A band is made a round before it is read, for XLA to have it in memory;
    else each product looks its factors up in the whole images.
    """
    _, height, width, channels = gradient.shape
    rows = min(ROWS, key=lambda rows: (-height % rows, -rows))
    count, band = _cut(x, gradient, size, window, rows)
    wide = jnp.promote_types(x.dtype, jnp.float32)

    def add(index: Array, state: tuple[list[Array], Band]) -> tuple[list[Array], Band]:
        totals, (inputs, output) = state
        views = shifts(inputs.astype(wide), output.shape[1:3], size, window)
        factors = output[0].astype(wide)
        totals = [
            sum((view[0, row] * factors[row] for row in range(rows)), total)
            for total, view in zip(totals, views, strict=True)
        ]
        return totals, band(index + 1)

    nothing = [jnp.zeros((width, channels), wide) for _ in range(size**2)]
    totals, _ = lax.fori_loop(0, count, add, (nothing, band(0)))
    return jnp.sum(jnp.stack(totals), 1).reshape(size, size, 1, channels)


def _dense(x: Array, gradient: Array, size: int, window: Window) -> Array:
    """A product of matrices for each tap, of the pixels that are under it."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    shape = (x.shape[-1], gradient.shape[-1])
    taps = [[jnp.zeros(shape, wide)] * size for _ in range(size)]
    for reach in reaches(x.shape[1:3], size, window):
        pixels, outputs = (
            array.reshape(-1, array.shape[-1])
            for array in (reach.read(x), reach.cut(gradient))
        )
        taps[reach.rows.tap][reach.columns.tap] = inner_product(
            pixels, outputs, window.precision, wide
        )
    return jnp.stack([jnp.stack(row) for row in taps])


def inner_product(x: Array, y: Array, precision: Any, dtype: DTypeLike) -> Array:
    """`xᵀ y` of (n, a) and (n, b).

    XLA turns the first factor of a product in memory: let that be the smaller turn. A
    barrier keeps it from making the factor anew, element by element out of order;
    another, where the product is small, from turning the larger in its place.
    """
    (n, a), b = x.shape, y.shape[1]
    product = partial(
        lax.dot_general,
        dimension_numbers=(((0,), (0,)), ((), ())),
        precision=precision,
        preferred_element_type=dtype,
    )
    if n * a <= n * b + a * b:
        return product(lax.optimization_barrier(x), y)
    turned = product(lax.optimization_barrier(y), x)
    return (lax.optimization_barrier(turned) if a * b <= CACHED else turned).T
