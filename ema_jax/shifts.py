"""What lies under the taps of a kernel that moves over images."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax


class Window(NamedTuple):
    """How a kernel moves over images.

    Attributes:
        stride, dilation: along height and width.
        groups: of channels: 1, or as many as there are.
        precision: of the products, see `jax.lax.Precision`.
    """

    stride: int = 1
    dilation: int = 1
    groups: int = 1
    precision: Any = None

    def outputs(self, side: int) -> int:
        """How many there are along a side of the images: ⌈side / stride⌉."""
        return -(-side // self.stride)


def frame(x: Array, size: int, window: Window, below: int = 0) -> Array:
    """Images in a frame as wide as the kernel reaches, and more rows below."""
    margin = window.dilation * (size - 1) // 2
    return jnp.pad(x, ((0, 0), (margin, margin + below), (margin, margin), (0, 0)))


def shifts(
    padded: Array, sides: tuple[int, ...], size: int, window: Window
) -> Iterator[Array]:
    """What lies under each tap, (B, *sides, C), row by row of the kernel."""
    batch, _, _, channels = padded.shape
    stride, dilation = window.stride, window.dilation
    height, width = ((side - 1) * stride + 1 for side in sides)
    for top in range(0, size * dilation, dilation):
        for left in range(0, size * dilation, dilation):
            end = (batch, top + height, left + width, channels)
            yield lax.slice(padded, (0, top, left, 0), end, (1, stride, stride, 1))


class Span(NamedTuple):
    """Where a tap lies on the images, along an axis.

    Attributes:
        tap: its place in the kernel.
        start: its first pixel.
        first, end: its outputs, from the first to one past the last.
    """

    tap: int
    start: int
    first: int
    end: int


class Reach(NamedTuple):
    """Where a tap lies on the images.

    Attributes:
        rows, columns: of it.
        sides: height and width of all outputs.
        stride: of the pixels.
    """

    rows: Span
    columns: Span
    sides: tuple[int, int]
    stride: int

    def read(self, x: Array) -> Array:
        """The pixels under it, of images (B, H, W, C)."""
        start = (0, self.rows.start, self.columns.start, 0)
        bottom, right = (
            span.start + (span.end - span.first - 1) * self.stride
            for span in (self.rows, self.columns)
        )
        end = (x.shape[0], bottom + 1, right + 1, x.shape[3])
        return lax.slice(x, start, end, (1, self.stride, self.stride, 1))

    def cut(self, y: Array) -> Array:
        """Its outputs, of all (B, *sides, C)."""
        rows, columns = self.rows, self.columns
        end = (y.shape[0], rows.end, columns.end, y.shape[3])
        return lax.slice(y, (0, rows.first, columns.first, 0), end)

    def spread(self, y: Array) -> Array:
        """All outputs (B, *sides, C): zeros around its own."""
        around = (
            (span.first, side - span.end, 0)
            for span, side in zip((self.rows, self.columns), self.sides, strict=True)
        )
        return lax.pad(y, jnp.zeros((), y.dtype), ((0, 0, 0), *around, (0, 0, 0)))


def reaches(sides: Sequence[int], size: int, window: Window) -> list[Reach]:
    """Of each tap of a kernel that lies on images of this height and width at all.

    Example:
        >>> found = reaches((9, 2), 3, Window(dilation=2))
        >>> [(reach.rows.tap, reach.columns.tap) for reach in found]
        [(0, 1), (1, 1), (2, 1)]
    """
    rows, columns = (_spans(side, size, window) for side in sides)
    height, width = map(window.outputs, sides)
    return [
        Reach(row, column, (height, width), window.stride)
        for row in rows
        for column in columns
    ]


def share(sides: Sequence[int], size: int, window: Window) -> float:
    """Of the products of a convolution, those that are not with the padding.

    Example:
        >>> share((17, 17), 3, Window(dilation=16)) == (19 / 51) ** 2
        True
    """
    found = 1.0
    for side in sides:
        spans = _spans(side, size, window)
        found *= sum(span.end - span.first for span in spans)
        found /= size * window.outputs(side)
    return found


def _spans(side: int, size: int, window: Window) -> list[Span]:
    """Of each tap that lies on images of this height, or width."""
    stride, found = window.stride, []
    for tap in range(size):
        offset = (tap - size // 2) * window.dilation
        first = max(0, -(offset // stride))
        end = min(window.outputs(side), (side - 1 - offset) // stride + 1)
        if first < end:
            found.append(Span(tap, first * stride + offset, first, end))
    return found
