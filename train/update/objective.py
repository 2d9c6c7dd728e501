"""The loss of one batch, and what else one forward pass tells."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import PartitionSpec

from ema_jax.segmenter import preprocessing_of
from train.devices.mesh import DeviceMesh
from train.evaluation.metrics import confusion_matrix
from train.update.losses import segmentation_loss


class Seen(NamedTuple):
    """What a forward pass leaves: the statistics after it, and the confusion matrix."""

    batch_stats: Any
    confusion: Array


Objective = Callable[..., tuple[Array, Seen]]
"""(params, batch_stats, batch, dropout key, labels of the whole batch, if this is but a
piece of it) -> (loss, what was seen)."""


def make_objective(
    model: nn.Module,
    mesh: DeviceMesh,
    *,
    auxiliary_weight: float = 0.4,
    crop_rows: int | None = None,
    norm_groups: int = 1,
    **loss: Any,
) -> Objective:
    """The loss of `model` on {"image", "label", "mask"}, split over the mesh.

    With an auxiliary head it is `main + auxiliary_weight · auxiliary`, each as
    `segmentation_loss`; with a weight of zero that head is left out.

    Args:
        model: a network.
        mesh: of the batch.
        auxiliary_weight: see above.
        crop_rows: so many rows of the images are the crop, the others only fill up
            the devices; None: all.
        norm_groups: groups of images of which each has its own batch statistics; see
            `forward`.
        **loss: options of `segmentation_loss`.
    """
    auxiliary = getattr(model, "auxiliary_head", None) is not None
    auxiliary = auxiliary and auxiliary_weight > 0
    preprocessing = preprocessing_of(model)

    def objective(
        params: Any,
        batch_stats: Any,
        batch: dict[str, Array],
        key: Array,
        whole: Array | None = None,
    ) -> tuple[Array, Seen]:
        images = preprocessing.normalize(batch["image"], batch["mask"])
        canvas = None if crop_rows is None else _canvas(images, crop_rows)
        variables = {"params": params, "batch_stats": batch_stats}
        outputs, batch_stats = forward(
            model, variables, images, canvas, key, norm_groups, auxiliary=auxiliary
        )
        losses = [
            segmentation_loss(
                logits, batch["label"], whole=whole, canvas=canvas, **loss
            )
            for logits in outputs
        ]
        total = losses[0] + auxiliary_weight * sum(losses[1:])
        return total, Seen(batch_stats, _confusion(outputs[0], batch["label"], mesh))

    return objective


def forward(
    model: nn.Module,
    variables: Any,
    images: Array,
    canvas: Array | None,
    key: Array,
    groups: int,
    *,
    auxiliary: bool,
) -> tuple[tuple[Array, ...], Any]:
    """Logits in training, with `auxiliary` those of that head too, and statistics.

    With several groups each is normalised by the statistics of its own images, and
    the running statistics move by the mean of what each group would have them be.
    Groups that lie on one device each need nothing of the others.
    """
    asked: dict[str, Any] = {"auxiliary": True} if auxiliary else {}

    def apply(images: Array, canvas: Array | None, key: Array) -> tuple[Any, Any]:
        options = asked if canvas is None else {**asked, "mask": canvas}
        outputs, updates = model.apply(
            variables,
            images,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": key},
            **options,
        )
        return outputs if auxiliary else (outputs,), updates["batch_stats"]

    if groups == 1:
        return apply(images, canvas, key)

    def split(x: Array) -> Array:
        return x.reshape(groups, -1, *x.shape[1:])

    keys = jax.random.split(key, groups)
    outputs, stats = jax.vmap(apply)(split(images), jax.tree.map(split, canvas), keys)
    outputs = tuple(logits.reshape(-1, *logits.shape[2:]) for logits in outputs)
    return outputs, jax.tree.map(partial(jnp.mean, axis=0), stats)


def _canvas(images: Array, rows: int) -> Array:
    """Mask (B, H, W) of the first rows."""
    return jnp.broadcast_to(
        (jnp.arange(images.shape[1]) < rows)[:, None], images.shape[:3]
    )


def _confusion(logits: Array, labels: Array, mesh: DeviceMesh) -> Array:
    """Confusion matrix of the batch; each device counts its own pixels."""

    def count(logits: Array, labels: Array) -> Array:
        predictions = jnp.argmax(logits, axis=-1)
        counts = confusion_matrix(labels, predictions, logits.shape[-1])
        return jax.lax.psum(counts, tuple(place))

    place = mesh.batch.spec
    return jax.shard_map(
        count, mesh=mesh.mesh, in_specs=(place, place), out_specs=PartitionSpec()
    )(jax.lax.stop_gradient(logits), labels)
