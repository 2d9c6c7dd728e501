"""Winograd's 3×3 convolutions: 16 products where 36 are written down.

In one dimension two neighbouring outputs y of a kernel g, from four inputs d, take four
products m in place of six:

    m = (d₀ - d₂, d₁ + d₂, d₂ - d₁, d₁ - d₃)
        · (g₀, (g₀ + g₁ + g₂) / 2, (g₀ - g₁ + g₂) / 2, g₂),
    y = (m₀ + m₁ + m₂, m₁ - m₂ - m₃).

In two dimensions it is that of that, for tiles of four outputs. Over all tiles and
channels each of the 16 is a product of matrices. Rounding errors are those of sums.

Reference:
    Lavin & Gray, CVPR 2016, https://arxiv.org/abs/1509.09308, F(2×2, 3×3).
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from ema_jax.kernel_gradient import inner_product
from ema_jax.shifts import Window

Line = Sequence[Array]
Square = list[list[Array]]
"""Arrays by row and column."""

MOVED = 28
"""Multiply-adds in the time that it takes to make a sum, and to read it again."""


def fits(kernel: Sequence[int], window: Window) -> bool:
    """Whether a kernel of this shape, so moved, is one for which the sums are."""
    return kernel[0] == 3 and window.stride == 1 and window.groups == 1


def work(images: Sequence[int], features: int, dilation: int) -> int:
    """Multiply-adds, or as long as they take: 16 products of tiles, and the sums."""
    batch, height, width, channels = images
    rows, columns = (-(-side // (2 * dilation)) * dilation for side in (height, width))
    tiles = batch * rows * columns
    sums = tiles * (channels + features) + channels * features
    return 16 * (tiles * channels * features + MOVED * sums)


def winograd(
    x: Array,
    kernel: Array,
    window: Window,
    *,
    transposed: bool = False,
    shared: bool = False,
) -> Array:
    """The convolution (B, H, W, C) to (B, H, W, features) by a dense 3×3 kernel.

    If `transposed`, from outputs to inputs. If `shared`, by the very tiles of which
    `winograd_kernel_gradient` is made, which a program then makes once. Sums are
    float32 at least.
    """
    wide = jnp.promote_types(x.dtype, jnp.float32)
    tiles = _inputs(x.astype(wide), window.dilation)
    taps = _twice(_of_kernel, [[*row] for row in kernel.astype(wide)])
    axes = (((5,), (1 if transposed else 0,)), ((), ()))
    product = partial(
        lax.dot_general, dimension_numbers=axes, precision=window.precision
    )
    found = (_by_pair if shared else _by_row)(product, tiles, taps)
    return _join(_twice(_of_products, found), x.shape[1:3]).astype(x.dtype)


def winograd_kernel_gradient(
    x: Array, gradient: Array, size: int, window: Window
) -> Array:
    """That of `winograd` by its kernel, (size, size, C, features) with size 3."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    tiles = _inputs(x.astype(wide), window.dilation)
    slopes = _twice(_to_products, _outputs(gradient.astype(wide), window.dilation))

    def product(tile: Array, slope: Array) -> Array:
        inputs, outputs = (
            array.reshape(-1, array.shape[-1]) for array in (tile, slope)
        )
        return inner_product(inputs, outputs, window.precision, wide)

    found = _twice(_to_kernel, _by_pair(product, tiles, slopes))
    return jnp.stack([jnp.stack(row) for row in found]).astype(x.dtype)


def _by_pair(
    product: Callable[[Array, Array], Array], left: Square, right: Square
) -> Square:
    """The product of each two, all of which XLA first makes in memory."""
    left, right = lax.optimization_barrier((left, right))
    found = [
        [product(*pair) for pair in zip(*rows, strict=True)]
        for rows in zip(left, right, strict=True)
    ]
    return lax.optimization_barrier(found)


def _by_row(
    product: Callable[[Array, Array], Array], left: Square, right: Square
) -> Square:
    """The same, four at a time: as fast, and sooner compiled."""
    rows = ([[jnp.stack(row) for row in square]] for square in (left, right))
    [found] = _by_pair(jax.vmap(product), *rows)
    return [list(row) for row in found]


def _twice(change: Callable[[Line], Line], square: Square) -> Square:
    """`change` along rows, then along columns."""
    rows = [change(row) for row in square]
    columns = [change(column) for column in zip(*rows, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def _of_inputs(d: Line) -> Line:
    return d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]


def _of_kernel(g: Line) -> Line:
    ends, middle = (g[0] + g[2]) / 2, g[1] / 2
    return g[0], ends + middle, ends - middle, g[2]


def _of_products(m: Line) -> Line:
    return m[0] + m[1] + m[2], m[1] - m[2] - m[3]


def _to_products(y: Line) -> Line:
    """The transpose of `_of_products`."""
    return y[0], y[0] + y[1], y[0] - y[1], -y[1]


def _to_kernel(m: Line) -> Line:
    """The transpose of `_of_kernel`."""
    ends, middle = (m[1] + m[2]) / 2, (m[1] - m[2]) / 2
    return m[0] + ends, middle, ends + m[3]


def _split(x: Array, dilation: int, margin: int) -> Array:
    """Images as (B, n, 2, dilation, m, 2, dilation, C), in a frame of zeros.

    The two outputs of a tile along an axis are `dilation` pixels apart.
    """
    step = 2 * dilation
    frame = [
        (margin * dilation, -side % step + margin * dilation) for side in x.shape[1:3]
    ]
    x = jnp.pad(x, ((0, 0), *frame, (0, 0)))
    batch, height, width, channels = x.shape
    rows, columns = height // step, width // step
    return x.reshape(batch, rows, 2, dilation, columns, 2, dilation, channels)


def _inputs(x: Array, dilation: int) -> Square:
    """The sums of inputs, 4 × 4 arrays (B, n, dilation, m, dilation, C)."""
    framed = _split(x, dilation, 1)
    rows, columns = framed.shape[1] - 1, framed.shape[4] - 1

    def under(u: int, v: int) -> Array:
        top, left = u // 2, v // 2
        return framed[:, top : top + rows, u % 2, :, left : left + columns, v % 2]

    return _twice(_of_inputs, [[under(u, v) for v in range(4)] for u in range(4)])


def _outputs(y: Array, dilation: int) -> Square:
    """The outputs of each tile, 2 × 2 arrays (B, n, dilation, m, dilation, C)."""
    split = _split(y, dilation, 0)
    return [[split[:, :, u, :, :, v] for v in range(2)] for u in range(2)]


def _join(tiles: Square, sides: Sequence[int]) -> Array:
    """Images (B, *sides, C) from what `_outputs` makes of them."""
    rows = jnp.stack([jnp.stack(row, 4) for row in tiles], 2)
    batch, n, _, dilation, m, _, _, channels = rows.shape
    images = rows.reshape(batch, 2 * n * dilation, 2 * m * dilation, channels)
    return images[:, : sides[0], : sides[1]]
