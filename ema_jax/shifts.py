"""What lies under the taps of a kernel that moves over images."""

from collections.abc import Iterator
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
