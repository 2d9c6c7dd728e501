"""Evaluation of whole images: predictions, and their scores over a set."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import NamedTuple

import jax
import numpy as np
from jax import Array
from jax.sharding import NamedSharding
from ml_collections import ConfigDict

from ema_jax import Preprocessing, Segmenter
from ema_jax.canvas import CanvasBatch
from ema_jax.inference import Inference
from ema_jax.networks import find_em_unit
from train.data.access import Batch, RandomAccess
from train.data.canvas import canvas_batches
from train.devices.mesh import DeviceMesh, to_devices
from train.evaluation.metrics import confusion_matrix
from train.user.errors import UserError

PROGRAM = 2**22
"""Pixels that take as long as compiling another program: sixteen images of 513².

On two cores `emanet_tiny` takes longer to compile, EMANet-50 is slower to run; on an
accelerator a program is worth many more.
"""


def configured_inference(
    evaluation: ConfigDict,
    model: Segmenter,
    mesh: DeviceMesh,
    preprocessing: Preprocessing | None = None,
    *,
    watch: bool = False,
) -> Inference:
    """How the section `config.evaluation` has a network see an image.

    With `watch` it says what EM attention did, where that `can_be_watched`.

    Raises:
        UserError: a window that the output stride does not fit.
    """
    watch = watch and can_be_watched(evaluation, model)
    try:
        return Inference(
            model,
            preprocessing,
            scales=evaluation.scales,
            flip=evaluation.flip,
            window=evaluation.window,
            sharding=mesh.batch,
            watch=watch,
        )
    except ValueError as error:
        raise UserError(f"config.evaluation.{error}") from error


def can_be_watched(evaluation: ConfigDict, model: Segmenter) -> bool:
    """Whether a network has EM attention, which sees each image whole, and once."""
    unit = find_em_unit(model)
    if unit is None or unit.eval_window or evaluation.window is not None:
        return False
    return tuple(evaluation.scales) == (1,) and not evaluation.flip


class Counts(NamedTuple):
    """What the images of a batch add to the scores of their set.

    Attributes:
        indices: of the images (B,), -1 where a row is empty.
        confusion: of each (B, num_classes, num_classes), int32.
        cross_entropy: of each (B,), summed over the pixels that count.
        seen: what EM attention did in each (B,), by name, if that is watched.
    """

    indices: Sequence[int]
    confusion: np.ndarray
    cross_entropy: np.ndarray
    seen: Mapping[str, np.ndarray]


def placed_batches(
    inference: Inference,
    source: RandomAccess,
    sizes: np.ndarray,
    mesh: DeviceMesh,
    *,
    batch_size: int,
    canvas_multiple: int,
    num_threads: int = 2,
    program: int | None = PROGRAM,
) -> Iterator[tuple[CanvasBatch, Batch, tuple[Array, Array]]]:
    """Images in batches that share a canvas, placed by all processes together.

    For `program` see `plan`.

    Yields:
        The plan of the batch, the rows of this process, the global images and masks.
    """
    loaded = canvas_batches(
        source,
        sizes,
        canvas_multiple,
        batch_size,
        inference.row_multiple,
        channels=inference.channels,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        num_threads=num_threads,
        program=program,
    )
    for batch, rows in loaded:
        inputs = to_devices({k: rows[k] for k in ("image", "mask")}, mesh.batch)
        yield batch, rows, (inputs["image"], inputs["mask"])


def evaluate(
    inference: Inference,
    variables: dict,
    source: RandomAccess,
    sizes: np.ndarray,
    mesh: DeviceMesh,
    *,
    num_classes: int,
    **batching: int,
) -> Iterator[Counts]:
    """What each batch of a set adds to its scores, the same in all processes.

    Every image counts once, at its own size, whatever the number of processes. For the
    other arguments see `placed_batches`.
    """
    counted = _counting(num_classes, mesh.everywhere)
    gather = _gathering(mesh.everywhere)
    batches = placed_batches(inference, source, sizes, mesh, **batching)
    for batch, rows, inputs in batches:
        truth = to_devices({"label": rows["label"]}, mesh.images)["label"]
        found, sums, seen = inference.labels_cross_entropy_and_seen(
            variables, *inputs, truth
        )
        confusion = np.asarray(counted(truth, found))
        yield Counts(
            batch.indices, confusion, np.asarray(gather(sums)), jax.device_get(seen)
        )


def predict_images(
    inference: Inference,
    variables: dict,
    source: RandomAccess,
    sizes: np.ndarray,
    mesh: DeviceMesh,
    *,
    everywhere: bool = False,
    **batching: int,
) -> Iterator[tuple[int, np.ndarray]]:
    """Index and prediction (h, w) of each image, at its own size.

    Each process yields the images whose rows it fed, or all with `everywhere`. For the
    other arguments see `placed_batches`.
    """
    gather = _gathering(mesh.everywhere)
    everywhere = everywhere and jax.process_count() > 1
    batches = placed_batches(inference, source, sizes, mesh, **batching)
    for batch, rows, inputs in batches:
        labels = inference.labels(variables, *inputs)
        if everywhere:
            first, found = 0, np.asarray(gather(labels))
        else:
            first, found = jax.process_index() * len(rows["mask"]), _local_rows(labels)
        for row, index in enumerate(batch.indices[first : first + len(found)]):
            if index >= 0:
                height, width = sizes[index]
                yield index, found[row, :height, :width]


@cache  # as each evaluation asks for the same programs
def _counting(num_classes: int, sharding: NamedSharding) -> Callable[..., Array]:
    """The confusion matrix of each image, from truth and prediction."""
    count = partial(confusion_matrix, num_classes=num_classes)
    return jax.jit(jax.vmap(count), out_shardings=sharding)


@cache
def _gathering(sharding: NamedSharding) -> Callable[[Array], Array]:
    """An array as it is, placed otherwise."""
    return jax.jit(lambda array: array, out_shardings=sharding)


def _local_rows(array: Array) -> np.ndarray:
    """The rows of a batch-sharded array that this process holds, in order."""
    shards = {shard.index[0].start or 0: shard for shard in array.addressable_shards}
    return np.concatenate([np.asarray(shards[row].data) for row in sorted(shards)])
