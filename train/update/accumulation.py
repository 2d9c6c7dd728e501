"""The gradient of a batch that is taken in pieces."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import NamedSharding, PartitionSpec

from train.devices.mesh import DeviceMesh
from train.update.objective import Objective, Seen


def value_and_mean_gradient(
    objective: Objective,
    params: Any,
    batch_stats: Any,
    batch: dict[str, Array],
    key: Array,
    pieces: int,
    mesh: DeviceMesh,
) -> tuple[tuple[Array, Seen], Any]:
    """`jax.value_and_grad` of the mean of `objective` over the pieces of the batch.

    One piece after the other, so that the memory is that of one. Each piece has its own
    batch statistics and moves the running ones and μ⁰, as a batch of its size would;
    the mean of the loss, but for hard pixels, and the confusion matrix are those of
    all. Every device splits its own images.
    """
    value_and_grad = jax.value_and_grad(objective, has_aux=True)
    if pieces == 1:
        return value_and_grad(params, batch_stats, batch, key)

    def add(carry: tuple, piece: tuple) -> tuple[tuple, Array]:
        total_loss, total, stats = carry
        (loss, seen), gradients = value_and_grad(params, stats, *piece, batch["label"])
        total = jax.tree.map(jnp.add, total, gradients)
        return (total_loss + loss, total, seen.batch_stats), seen.confusion

    start = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, params), batch_stats)
    inputs = (split_batch(batch, pieces, mesh), jax.random.split(key, pieces))
    (loss, total, stats), confusion = lax.scan(add, start, inputs)
    gradients = jax.tree.map(lambda g: g / pieces, total)
    return (loss / pieces, Seen(stats, confusion.sum(0))), gradients


def split_batch(
    batch: dict[str, Array], pieces: int, mesh: DeviceMesh
) -> dict[str, Array]:
    """Arrays (B, …) to (pieces, B/pieces, …), each device splitting what it holds."""
    devices = mesh.shape["data"]
    place = NamedSharding(mesh.mesh, PartitionSpec(None, *mesh.batch.spec))

    def split(x: Array) -> Array:
        x = x.reshape(devices, pieces, -1, *x.shape[1:]).swapaxes(0, 1)
        x = x.reshape(pieces, -1, *x.shape[3:])
        return lax.with_sharding_constraint(x, place)

    return {name: split(x) for name, x in batch.items()}
