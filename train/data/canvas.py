"""Examples of many sizes as batches on a few canvases; see `ema_jax.canvas`."""

from collections.abc import Iterator, Sequence

import grain
import numpy as np

from ema_jax.canvas import CanvasBatch, place, plan, stack
from train.data.access import IGNORE_LABEL, Batch, RandomAccess


def fill_canvas(
    examples: Sequence[dict], shape: tuple[int, int], channels: int = 3
) -> Batch:
    """Stack examples of many sizes on one canvas.

    Args:
        examples: each {"image" (h, w, C), "label" (h, w)}; an empty one is no example.
        shape: of the canvas.
        channels: C.

    Returns:
        {"image" (B, H, W, C) uint8, "label" (B, H, W) uint8 with 255 outside the
        image, "mask" (B, H, W) bool, true on the image}.
    """
    pixels = [example.get("image") for example in examples]
    images, masks = stack(pixels, shape, channels)
    nothing = np.zeros((0, 0), np.uint8)
    labels = [example.get("label", nothing) for example in examples]
    labels = [place(label, shape, IGNORE_LABEL) for label in labels]
    return {"image": images, "label": np.stack(labels), "mask": masks}


def canvas_batches(
    source: RandomAccess,
    sizes: np.ndarray,
    multiple: int,
    batch_size: int,
    row_multiple: int = 1,
    *,
    channels: int = 3,
    process_index: int = 0,
    process_count: int = 1,
    num_threads: int = 2,
    program: int | None = None,
) -> Iterator[tuple[CanvasBatch, Batch]]:
    """Load the batches of `plan`; each process its consecutive share of every one.

    Yields:
        The plan of a batch, and the rows of this process.
    """

    def load(batch: CanvasBatch) -> tuple[CanvasBatch, Batch]:
        count = len(batch.indices) // process_count
        start = process_index * count
        indices = batch.indices[start : start + count]
        examples = [source[i] if i >= 0 else {} for i in indices]
        return batch, fill_canvas(examples, batch.shape, channels)

    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=2)
    batches = plan(sizes, multiple, batch_size, row_multiple, program)
    dataset = grain.MapDataset.source(batches).map(load)
    return iter(dataset.to_iter_dataset(options))
