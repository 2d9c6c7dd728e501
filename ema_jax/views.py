"""Logits of whole images on a canvas: one scale, several with flips, or windows.

Images of many sizes lie at the top left of one canvas; `sizes` (B, 2) says how far each
reaches. Every function gives each image what it gets alone.
"""

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax import Array, lax, vmap

from ema_jax.canvas import round_up
from ema_jax.networks import em_unit
from ema_jax.resize import resize_each
from ema_jax.segmenter import Segmenter
from ema_jax.windows import OVERLAP, count, place, step_of

LogitsFn = Callable[[Any, Array, Array], Array]
"""(variables, normalised images (B, H, W, 3), sizes (B, 2)) -> logits (B, H, W, C)."""

WatchedFn = Callable[[Any, Array, Array], tuple[Array, dict[str, Array]]]
"""The same, and what EM attention did, for each image."""


def extent(sizes: Array, shape: tuple[int, int]) -> Array:
    """Mask (B, H, W) of the pixels within `sizes` (B, 2) at the top left."""
    rows = jnp.arange(shape[0]) < sizes[:, :1]
    columns = jnp.arange(shape[1]) < sizes[:, 1:]
    return rows[:, :, None] & columns[:, None, :]


def align(sizes: Array, stride: int) -> Array:
    """Sizes rounded up to `stride·k + 1`, as evaluation pads with zeros; 0 stays 0."""
    return jnp.where(sizes > 0, -(-(sizes - 1) // stride) * stride + 1, 0)


def whole_image(model: Segmenter) -> LogitsFn:
    """The network on each whole image, padded with zeros to `stride·k + 1`."""

    def logits(variables: Any, images: Array, sizes: Array) -> Array:
        visible, mask = _on_canvas(model, images, sizes)
        return model.apply(variables, visible, train=False, mask=mask)  # type: ignore[return-value]

    return logits


def watched_image(model: Segmenter) -> WatchedFn:
    """As `whole_image`, with `entropy` and `dead_bases` of each image, (B,).

    Of several heads that is the mean entropy, and the sum of their dead bases; see
    `EMAU`.

    Raises:
        ValueError: a network without EM attention, or with it in windows.
    """
    unit = em_unit(model)
    if unit.eval_window is not None:
        raise ValueError(f"eval_window={unit.eval_window}: each window has its own EM")

    def logits(
        variables: Any, images: Array, sizes: Array
    ) -> tuple[Array, dict[str, Array]]:
        visible, mask = _on_canvas(model, images, sizes)
        found, state = model.apply(
            variables, visible, train=False, mask=mask, mutable=["intermediates"]
        )
        seen = cast(Any, state)["intermediates"]["head"]["context"]
        [entropy], [dead] = seen["entropy"], seen["dead_bases"]
        if unit.num_heads > 1:
            entropy, dead = entropy.mean(-1), dead.sum(-1)
        return cast(Array, found), {"entropy": entropy, "dead_bases": dead}

    return logits


def _on_canvas(model: Segmenter, images: Array, sizes: Array) -> tuple[Array, Array]:
    """Images with zeros around them, and the mask of what the network sees."""
    shape = images.shape[1], images.shape[2]
    visible = jnp.where(extent(sizes, shape)[..., None], images, 0)
    return visible, extent(align(sizes, model.backbone.output_stride), shape)


def at_scale(
    logits_fn: LogitsFn,
    stride: int,
    scale: float,
    *,
    flip: bool,
    row_multiple: int = 1,
) -> LogitsFn:
    """Logits of the image scaled by `scale`, brought back to its size.

    With `flip`, the sum of those of the image and of its mirror image. The sum over
    several scales is multi-scale evaluation. `row_multiple` divides the rows of the
    scaled canvas.
    """

    def logits(variables: Any, images: Array, sizes: Array) -> Array:
        height, width = images.shape[1:3]
        shape = (
            round_up(scaled_length(height, scale, stride), row_multiple),
            scaled_length(width, scale, stride),
        )
        new_sizes = jnp.where(
            sizes > 0, jnp.maximum(jnp.floor(sizes * scale).astype(sizes.dtype), 1), 0
        )

        def one(mirror: bool) -> Array:
            scaled = resize_each(images, sizes, new_sizes, shape, mirror=mirror)
            result = logits_fn(variables, scaled, new_sizes)
            return resize_each(result, new_sizes, sizes, (height, width), mirror=mirror)

        return one(False) + one(True) if flip else one(False)

    return logits


def scaled_length(length: int, scale: float, stride: int) -> int:
    """Side `stride·k + 1` of the canvas that holds a scaled canvas of side `length`."""
    return -(-(max(int(length * scale), 1) - 1) // stride) * stride + 1


def sliding_window(
    logits_fn: LogitsFn, window: tuple[int, int], overlap: float = OVERLAP
) -> LogitsFn:
    """Mean of the logits of overlapping windows, for images larger than memory allows.

    The windows of an image start every `(1 - overlap) · window` pixels, the last ones
    at its bottom and right; an image within the window is taken whole.

    Args:
        logits_fn: applied to windows.
        window: height and width.
        overlap: share of a window that the next one sees again.
    """
    steps = tuple(step_of(side, overlap) for side in window)

    def logits(variables: Any, images: Array, sizes: Array) -> Array:
        height, width = images.shape[1:3]
        lengths = max(height, window[0]), max(width, window[1])
        images = _pad(images, lengths)
        rows, columns = (
            count(length, side, step)
            for length, side, step in zip(lengths, window, steps, strict=True)
        )

        def add(index: Array, totals: tuple[Array, Array]) -> tuple[Array, Array]:
            cell = jnp.stack([index // columns, index % columns])
            start, exists = place(cell, sizes, jnp.array(window), jnp.array(steps))
            # A canvas may have more windows than this image: those are empty.
            wanted = exists.all(axis=1, keepdims=True)
            seen = jnp.minimum(sizes - start, jnp.array(window)) * wanted
            result = logits_fn(variables, _cut(images, start, window), seen)
            inside = extent(seen, window)[..., None]
            total, times = totals
            return (
                _add(total, jnp.where(inside, result, 0), start),
                _add(times, inside.astype(times.dtype), start),
            )

        window_images = images[:, : window[0], : window[1]]
        shape = jax.eval_shape(logits_fn, variables, window_images, sizes)
        total = jnp.zeros((*images.shape[:3], shape.shape[-1]), shape.dtype)
        times = jnp.zeros((*images.shape[:3], 1), shape.dtype)
        total, times = lax.fori_loop(0, rows * columns, add, (total, times))
        return (total / jnp.maximum(times, 1))[:, :height, :width]

    return logits


def _pad(images: Array, shape: tuple[int, int]) -> Array:
    """Zeros at the bottom and right, up to `shape`."""
    below, beside = shape[0] - images.shape[1], shape[1] - images.shape[2]
    return jnp.pad(images, ((0, 0), (0, below), (0, beside), (0, 0)))


def _cut(images: Array, starts: Array, window: tuple[int, int]) -> Array:
    """The window of each image at its own start."""

    def cut(image: Array, start: Array) -> Array:
        return lax.dynamic_slice(image, (*start, 0), (*window, image.shape[-1]))

    return vmap(cut)(images, starts)


@vmap
def _add(total: Array, piece: Array, start: Array) -> Array:
    """Add a piece to each image at its own start."""
    old = lax.dynamic_slice(total, (*start, 0), piece.shape)
    return lax.dynamic_update_slice(total, old + piece, (*start, 0))
