"""Whole images of many sizes on a few canvases of fixed shape.

Each distinct shape costs a compilation. So every image is put at the top left of the
smallest canvas that holds it, whose sides are `multiple·k + 1`, and a mask tells the
network which pixels exist.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import grain
import numpy as np

from train.data.access import Batch, RandomAccess


@dataclass(frozen=True)
class CanvasBatch:
    """Examples that share one canvas; -1 fills up the last batch of a canvas."""

    shape: tuple[int, int]
    indices: tuple[int, ...]


def canvas_shape(
    size: Sequence[int], multiple: int, row_multiple: int = 1
) -> tuple[int, int]:
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
    sizes: np.ndarray, multiple: int, batch_size: int, row_multiple: int = 1
) -> list[CanvasBatch]:
    """Batches that cover every image once, grouped by canvas, in a fixed order.

    Args:
        sizes: (num_images, 2), height and width.
        multiple: granularity of the canvases.
        batch_size: examples of a batch over all processes.
        row_multiple: see `canvas_shape`.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for index, size in enumerate(sizes):
        groups.setdefault(canvas_shape(size, multiple, row_multiple), []).append(index)
    batches = []
    for shape, indices in sorted(groups.items()):
        indices += [-1] * (-len(indices) % batch_size)
        for start in range(0, len(indices), batch_size):
            chosen = tuple(indices[start : start + batch_size])
            batches.append(CanvasBatch(shape, chosen))
    return batches


def place(image: np.ndarray, shape: tuple[int, int], fill: int = 0) -> np.ndarray:
    """`image` (h, w, ...) at the top left of a canvas (H, W, ...) of `fill`."""
    height, width = image.shape[:2]
    canvas = np.full((*shape, *image.shape[2:]), fill, image.dtype)
    canvas[:height, :width] = image
    return canvas


def fill_canvas(examples: Sequence[dict], shape: tuple[int, int]) -> Batch:
    """Stack examples of many sizes on one canvas.

    Args:
        examples: each {"image" (h, w, 3), "label" (h, w)}; an empty one is no example.

    Returns:
        {"image" (B, H, W, 3) uint8, "label" (B, H, W) uint8 with 255 outside the
        image, "mask" (B, H, W) bool, true on the image}.
    """
    nothing = {
        "image": np.zeros((0, 0, 3), np.uint8),
        "label": np.zeros((0, 0), np.uint8),
    }
    full = [example or nothing for example in examples]
    return {
        "image": np.stack([place(x["image"], shape) for x in full]),
        "label": np.stack([place(x["label"], shape, 255) for x in full]),
        "mask": np.stack([place(np.ones_like(x["label"]), shape) > 0 for x in full]),
    }


def canvas_batches(
    source: RandomAccess,
    batches: Sequence[CanvasBatch],
    *,
    process_index: int = 0,
    process_count: int = 1,
    num_threads: int = 2,
) -> Iterator[Batch]:
    """Load the planned batches; each process its consecutive share of every batch."""

    def load(batch: CanvasBatch) -> Batch:
        count = len(batch.indices) // process_count
        start = process_index * count
        indices = batch.indices[start : start + count]
        return fill_canvas([source[i] if i >= 0 else {} for i in indices], batch.shape)

    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=2)
    dataset = grain.MapDataset.source(list(batches)).map(load)
    return iter(dataset.to_iter_dataset(options))
