"""Evaluation of whole images: predictions, and their scores over a set."""

from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh
from ml_collections import ConfigDict

from ema_jax import Segmenter
from ema_jax.canvas import CanvasBatch, plan
from ema_jax.inference import Inference
from train.data.access import Batch, RandomAccess
from train.data.canvas import canvas_batches
from train.devices.mesh import batch_sharding, image_sharding, replicated, to_devices
from train.evaluation.metrics import confusion_matrix
from train.user.errors import UserError


def configured_inference(
    evaluation: ConfigDict, model: Segmenter, mesh: Mesh
) -> Inference:
    """How the section `config.evaluation` has a network see an image.

    Raises:
        UserError: a window that the output stride does not fit.
    """
    try:
        return Inference(
            model,
            scales=evaluation.scales,
            flip=evaluation.flip,
            window=evaluation.window,
            sharding=batch_sharding(mesh),
        )
    except ValueError as error:
        raise UserError(f"config.evaluation.{error}") from error


def predict_batches(
    inference: Inference,
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
        yield batch, rows, inference.labels(variables, inputs["image"], inputs["mask"])


def evaluate(
    inference: Inference,
    variables: dict,
    source: RandomAccess,
    sizes: np.ndarray,
    mesh: Mesh,
    *,
    num_classes: int,
    batch_size: int,
    canvas_multiple: int,
    num_threads: int = 2,
    between: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Confusion matrix of a whole set, int64 (num_classes, num_classes).

    Every image counts once, at its own size, whatever the number of processes.
    `between` is called after each batch; what it raises ends the evaluation.
    """
    count = jax.jit(confusion_matrix, static_argnums=2, out_shardings=replicated(mesh))
    total = np.zeros((num_classes, num_classes), np.int64)
    batches = plan(sizes, canvas_multiple, batch_size, inference.row_multiple)
    for _, rows, predictions in predict_batches(
        inference, variables, source, batches, mesh, num_threads
    ):
        labels = to_devices({"label": rows["label"]}, image_sharding(mesh))["label"]
        total += np.asarray(count(labels, predictions, num_classes), np.int64)
        between()
    return total


def predict_images(
    inference: Inference,
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
    batches = plan(sizes, canvas_multiple, batch_size, inference.row_multiple)
    found = predict_batches(inference, variables, source, batches, mesh)
    for batch, rows, predictions in found:
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
