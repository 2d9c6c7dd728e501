"""Evaluation of whole images: predictions, and their scores over a set."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from ml_collections import ConfigDict

from ema_jax import Segmenter
from ema_jax.resize import sizes_of
from train.data.access import Batch, RandomAccess
from train.data.canvas import CanvasBatch, canvas_batches, plan
from train.errors import UserError
from train.inference import at_scale, sliding_window, whole_image
from train.mesh import (
    batch_sharding,
    image_sharding,
    replicated,
    row_multiple,
    to_devices,
)
from train.metrics import confusion_matrix
from train.preprocess import normalize_images

PredictStep = Callable[[dict, Array, Array], Array]


def make_predict_step(
    model: Segmenter,
    mesh: Mesh,
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    window: tuple[int, int] | None = None,
) -> PredictStep:
    """`(variables, images, mask) -> predictions`, compiled once for each canvas.

    Images are uint8 (B, H, W, 3) at the top left of a canvas; each gets what it gets
    alone, padded with zeros to a multiple of the output stride plus one. The
    predictions are (B, H, W), uint8: the largest of the logits, summed over scales
    and mirror images.

    Args:
        model: the network.
        mesh: over which the batch is split.
        scales: of the image; each compiles a program of its own.
        flip: add the logits of the mirror image.
        window: see the image through overlapping windows of this height and width.
    """
    stride = model.backbone.output_stride
    logits_fn = whole_image(model)
    if window is not None:
        logits_fn = sliding_window(logits_fn, window)
    rows, multiple = batch_sharding(mesh), row_multiple(stride, mesh)

    def compile_scale(scale: float) -> Callable[..., Array]:
        scaled = logits_fn
        if flip or scale != 1:
            scaled = at_scale(
                logits_fn, stride, scale, flip=flip, row_multiple=multiple
            )

        def step(variables: dict, images: Array, mask: Array) -> Array:
            return scaled(variables, normalize_images(images, mask), sizes_of(mask))

        return jax.jit(
            step, in_shardings=(replicated(mesh), rows, rows), out_shardings=rows
        )

    steps = [compile_scale(scale) for scale in scales]

    @partial(jax.jit, out_shardings=image_sharding(mesh))
    def classes(*logits: Array) -> Array:
        return jnp.argmax(sum(logits), axis=-1).astype(jnp.uint8)

    def predict_step(variables: dict, images: Array, mask: Array) -> Array:
        return classes(*(step(variables, images, mask) for step in steps))

    return predict_step


def predict_options(evaluation: ConfigDict, stride: int) -> dict[str, Any]:
    """How `config.evaluation` has the network see an image, for `make_predict_step`.

    Raises:
        UserError: a window that the output stride does not fit.
    """
    window = evaluation.window
    if window is not None and any((side - 1) % stride for side in window):
        raise UserError(
            f"config.evaluation.window={window} does not align with the output stride "
            f"{stride}; give sides of {stride}k+1, such as {(96 * stride + 1,) * 2}"
        )
    return {"scales": evaluation.scales, "flip": evaluation.flip, "window": window}


def predict_batches(
    predict_step: PredictStep,
    variables: dict,
    source: RandomAccess,
    batches: Sequence[CanvasBatch],
    mesh: Mesh,
    num_threads: int = 2,
) -> Iterator[tuple[CanvasBatch, Batch, Array]]:
    """Predict the planned batches, all processes together.

    Yields:
        The plan of the batch, the rows of this process, the global predictions.
    """
    loaded = canvas_batches(
        source,
        batches,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        num_threads=num_threads,
    )
    sharding = batch_sharding(mesh)
    for batch, rows in zip(batches, loaded, strict=True):
        inputs = to_devices({k: rows[k] for k in ("image", "mask")}, sharding)
        yield batch, rows, predict_step(variables, inputs["image"], inputs["mask"])


def evaluate(
    predict_step: PredictStep,
    variables: dict,
    source: RandomAccess,
    sizes: np.ndarray,
    mesh: Mesh,
    *,
    num_classes: int,
    batch_size: int,
    canvas_multiple: int,
    row_multiple: int = 1,
    num_threads: int = 2,
    between: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Confusion matrix of a whole set, int64 (num_classes, num_classes).

    Every image counts once, at its own size, whatever the number of processes.
    `between` is called after each batch; what it raises ends the evaluation.
    """
    count = jax.jit(confusion_matrix, static_argnums=2, out_shardings=replicated(mesh))
    total = np.zeros((num_classes, num_classes), np.int64)
    batches = plan(sizes, canvas_multiple, batch_size, row_multiple)
    for _, rows, predictions in predict_batches(
        predict_step, variables, source, batches, mesh, num_threads
    ):
        labels = to_devices({"label": rows["label"]}, image_sharding(mesh))["label"]
        total += np.asarray(count(labels, predictions, num_classes), np.int64)
        between()
    return total


def predict_images(
    predict_step: PredictStep,
    variables: dict,
    source: RandomAccess,
    sizes: np.ndarray,
    mesh: Mesh,
    *,
    batch_size: int,
    canvas_multiple: int,
    row_multiple: int = 1,
) -> Iterator[tuple[int, np.ndarray]]:
    """Index and prediction (h, w) of each image, at its own size.

    Each process yields the images whose rows it fed.
    """
    batches = plan(sizes, canvas_multiple, batch_size, row_multiple)
    for batch, rows, predictions in predict_batches(
        predict_step, variables, source, batches, mesh
    ):
        local = _local_rows(predictions)
        first = jax.process_index() * len(rows["mask"])
        for row, index in enumerate(batch.indices[first : first + len(local)]):
            if index >= 0:
                height, width = sizes[index]
                yield index, local[row, :height, :width]


def _local_rows(array: Array) -> np.ndarray:
    """The rows of a batch-sharded array that this process holds, in order."""
    shards = {shard.index[0].start or 0: shard for shard in array.addressable_shards}
    return np.concatenate([np.asarray(shards[row].data) for row in sorted(shards)])
