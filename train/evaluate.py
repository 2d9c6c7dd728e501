"""Evaluation of whole images: predictions, and their scores over a set."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from ema_jax import Segmenter
from train.data.access import Batch, RandomAccess
from train.data.canvas import CanvasBatch, canvas_batches, plan
from train.mesh import batch_sharding, replicated, to_devices
from train.metrics import confusion_matrix
from train.preprocess import align_mask, normalize_images

PredictStep = Callable[[dict, Array, Array], Array]


def make_predict_step(model: Segmenter, mesh: Mesh) -> PredictStep:
    """`(variables, images, mask) -> predictions`, compiled once for each canvas.

    Images are uint8 (B, H, W, 3) at the top left of a canvas; each gets what it gets
    alone, padded with zeros to a multiple of the output stride plus one. The
    predictions are (B, H, W), uint8.
    """

    def predict_step(variables: dict, images: Array, mask: Array) -> Array:
        logits: Any = model.apply(
            variables,
            normalize_images(images, mask),
            train=False,
            mask=align_mask(mask, model.backbone.output_stride),
        )
        return jnp.argmax(logits, axis=-1).astype(jnp.uint8)

    rows = batch_sharding(mesh)
    return jax.jit(
        predict_step, in_shardings=(replicated(mesh), rows, rows), out_shardings=rows
    )


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
    num_threads: int = 2,
) -> np.ndarray:
    """Confusion matrix of a whole set, int64 (num_classes, num_classes).

    Every image counts once, at its own size, whatever the number of processes.
    """
    count = jax.jit(confusion_matrix, static_argnums=2, out_shardings=replicated(mesh))
    total = np.zeros((num_classes, num_classes), np.int64)
    batches = plan(sizes, canvas_multiple, batch_size)
    for _, rows, predictions in predict_batches(
        predict_step, variables, source, batches, mesh, num_threads
    ):
        labels = to_devices({"label": rows["label"]}, batch_sharding(mesh))["label"]
        total += np.asarray(count(labels, predictions, num_classes), np.int64)
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
) -> Iterator[tuple[int, np.ndarray]]:
    """Index and prediction (h, w) of each image, at its own size.

    Each process yields the images whose rows it fed.
    """
    batches = plan(sizes, canvas_multiple, batch_size)
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
