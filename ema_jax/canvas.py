"""Whole images of many sizes on a few canvases of fixed shape.

Each distinct shape costs a compilation. So every image is put at the top left of the
smallest canvas that holds it, whose sides are `multiple·k + 1`, or of a larger one that
is needed anyway, and a mask tells the network which pixels exist.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Shape = tuple[int, int]


@dataclass(frozen=True)
class CanvasBatch:
    """Examples that share one canvas; -1 fills up the last batch of a canvas."""

    shape: Shape
    indices: tuple[int, ...]


def canvas_shape(size: Sequence[int], multiple: int, row_multiple: int = 1) -> Shape:
    """The smallest sides `multiple·k + 1` that hold `size`.

    The height is then rounded up to what `row_multiple` divides.

    Example:
        >>> canvas_shape((375, 500), 128)
        (385, 513)
        >>> canvas_shape((375, 500), 128, row_multiple=32)
        (416, 513)
    """
    height, width = (max(int(np.ceil((n - 1) / multiple)), 1) for n in size)
    return round_up(height * multiple + 1, row_multiple), width * multiple + 1


def round_up(length: int, multiple: int) -> int:
    """The smallest multiple that is not below a length."""
    return -(-length // multiple) * multiple


def plan(
    sizes: np.ndarray,
    multiple: int,
    batch_size: int,
    row_multiple: int = 1,
    program: int | None = None,
) -> list[CanvasBatch]:
    """Batches that cover every image once, grouped by canvas, in a fixed order.

    Args:
        sizes: (num_images, 2), height and width.
        multiple: granularity of the canvases.
        batch_size: examples of a batch over all processes.
        row_multiple: see `canvas_shape`.
        program: pixels that take as long as compiling another program does: images
            move to a larger canvas of others, where that adds fewer. None: each keeps
            the smallest.
    """
    groups: dict[Shape, list[int]] = {}
    for index, size in enumerate(sizes):
        groups.setdefault(canvas_shape(size, multiple, row_multiple), []).append(index)
    if program is not None:
        groups = joined(groups, batch_size, program)
    batches = []
    for shape, indices in sorted(groups.items()):
        indices += [-1] * (-len(indices) % batch_size)
        for start in range(0, len(indices), batch_size):
            chosen = tuple(indices[start : start + batch_size])
            batches.append(CanvasBatch(shape, chosen))
    return batches


def joined(
    groups: dict[Shape, list[int]], batch_size: int, program: int
) -> dict[Shape, list[int]]:
    """The groups, without those that are cheaper on a larger canvas of others.

    That is where it adds fewer pixels than a `program` is worth; those of least work
    move first.

    Example:
        >>> groups = {(9, 17): [1, 4], (17, 9): [0], (17, 17): [2, 3]}
        >>> joined(groups, batch_size=1, program=200)
        {(9, 17): [1, 4], (17, 17): [0, 2, 3]}
    """

    def pixels(shape: Shape, *members: Sequence[int]) -> int:
        return math.prod(shape) * round_up(sum(map(len, members)), batch_size)

    kept = dict(groups)
    for shape in sorted(groups, key=lambda shape: pixels(shape, groups[shape])):
        own = kept.pop(shape)
        added = {
            host: pixels(host, theirs, own) - pixels(host, theirs) - pixels(shape, own)
            for host, theirs in kept.items()
            if shape[0] <= host[0] and shape[1] <= host[1]
        }
        cheap = [host for host in added if added[host] < program]
        host = min(cheap, key=added.__getitem__, default=shape)
        kept[host] = sorted([*kept.get(host, []), *own])
    return kept


def place(image: np.ndarray, shape: Shape, fill: int = 0) -> np.ndarray:
    """`image` (h, w, ...) at the top left of a canvas (H, W, ...) of `fill`."""
    height, width = image.shape[:2]
    canvas = np.full((*shape, *image.shape[2:]), fill, image.dtype)
    canvas[:height, :width] = image
    return canvas


def split_rows(stride: int, parts: int) -> int:
    """What must divide the rows of a canvas of which each of `parts` has as many.

    At every resolution of a network of that output stride.

    Example:
        >>> split_rows(8, 1), split_rows(8, 4)
        (1, 32)
    """
    return stride * parts if parts > 1 else 1


def stack(
    images: Sequence[np.ndarray | None], shape: Shape, channels: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Images of many sizes on one canvas.

    Args:
        images: (h, w, channels) uint8 each; None is an empty place.
        shape: of the canvas.
        channels: of the images.

    Returns:
        Images (B, H, W, channels) uint8, and masks (B, H, W) bool, true on the image.
    """
    nothing = np.zeros((0, 0, channels), np.uint8)
    full = [nothing if x is None else x for x in images]
    masks = [place(np.ones(x.shape[:2], bool), shape) for x in full]
    return np.stack([place(x, shape) for x in full]), np.stack(masks)
