"""Evaluation of whole images: predictions, and their scores over a set."""

from collections.abc import Callable, Iterator

import jax
import numpy as np
from jax import Array
from ml_collections import ConfigDict

from ema_jax import Preprocessing, Segmenter
from ema_jax.canvas import CanvasBatch
from ema_jax.inference import Inference
from ema_jax.preprocessing import IMAGENET
from train.data.access import Batch, RandomAccess
from train.data.canvas import canvas_batches
from train.devices.mesh import DeviceMesh, to_devices
from train.evaluation.metrics import confusion_matrix
from train.user.errors import UserError


def configured_inference(
    evaluation: ConfigDict,
    model: Segmenter,
    mesh: DeviceMesh,
    preprocessing: Preprocessing = IMAGENET,
) -> Inference:
    """How the section `config.evaluation` has a network see an image.

    Raises:
        UserError: a window that the output stride does not fit.
    """
    try:
        return Inference(
            model,
            preprocessing,
            scales=evaluation.scales,
            flip=evaluation.flip,
            window=evaluation.window,
            sharding=mesh.batch,
        )
    except ValueError as error:
        raise UserError(f"config.evaluation.{error}") from error


def predict_batches(
    inference: Inference,
    variables: dict,
    source: RandomAccess,
    sizes: np.ndarray,
    mesh: DeviceMesh,
    *,
    batch_size: int,
    canvas_multiple: int,
    num_threads: int = 2,
) -> Iterator[tuple[CanvasBatch, Batch, Array]]:
    """Predict images in batches that share a canvas, all processes together.

    Yields:
        The plan of the batch, the rows of this process, the global predictions.
    """
    loaded = canvas_batches(
        source,
        sizes,
        canvas_multiple,
        batch_size,
        inference.row_multiple,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        num_threads=num_threads,
    )
    for batch, rows in loaded:
        inputs = to_devices({k: rows[k] for k in ("image", "mask")}, mesh.batch)
        yield batch, rows, inference.labels(variables, inputs["image"], inputs["mask"])


def evaluate(
    inference: Inference,
    variables: dict,
    source: RandomAccess,
    sizes: np.ndarray,
    mesh: DeviceMesh,
    *,
    num_classes: int,
    between: Callable[[], None] = lambda: None,
    **batching: int,
) -> np.ndarray:
    """Confusion matrix of a whole set, int64 (num_classes, num_classes).

    Every image counts once, at its own size, whatever the number of processes.
    `between` is called after each batch; what it raises ends the evaluation. For the
    other arguments see `predict_batches`.
    """
    count = jax.jit(confusion_matrix, static_argnums=2, out_shardings=mesh.everywhere)
    total = np.zeros((num_classes, num_classes), np.int64)
    found = predict_batches(inference, variables, source, sizes, mesh, **batching)
    for _, rows, predictions in found:
        labels = to_devices({"label": rows["label"]}, mesh.images)["label"]
        total += np.asarray(count(labels, predictions, num_classes), np.int64)
        between()
    return total


def predict_images(
    inference: Inference,
    variables: dict,
    source: RandomAccess,
    sizes: np.ndarray,
    mesh: DeviceMesh,
    **batching: int,
) -> Iterator[tuple[int, np.ndarray]]:
    """Index and prediction (h, w) of each image, at its own size.

    Each process yields the images whose rows it fed. For the arguments see
    `predict_batches`.
    """
    found = predict_batches(inference, variables, source, sizes, mesh, **batching)
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
