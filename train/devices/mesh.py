"""The device mesh, and where arrays live on it."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from train.user.errors import UserError


def make_mesh(devices: Sequence[jax.Device] | None = None, *, space: int = 1) -> Mesh:
    """Devices along two axes, `data` and `space`; by default all of all processes.

    Images are split over `data`, and the rows of each image over `space`, whose devices
    belong to one process.

    Raises:
        UserError: `space` does not divide the devices of a process.
    """
    devices = jax.devices() if devices is None else devices
    held = np.unique([device.process_index for device in devices], return_counts=True)
    local = int(np.gcd.reduce(held[1]))
    if local % space:
        divisors = ", ".join(str(n) for n in range(1, local + 1) if local % n == 0)
        raise UserError(
            f"config.mesh.space={space} does not divide the {local} devices of a "
            f"process; give one of {divisors}"
        )
    return Mesh(np.array(devices).reshape(-1, space), ("data", "space"))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The first axis split over `data`, the second over `space`."""
    if mesh.shape["space"] == 1:
        return image_sharding(mesh)
    return NamedSharding(mesh, PartitionSpec("data", "space"))


def image_sharding(mesh: Mesh) -> NamedSharding:
    """The first axis split over `data`: whole images."""
    return NamedSharding(mesh, PartitionSpec("data"))


def split_largest(shapes: Any, mesh: Mesh) -> Any:
    """Shardings of a tree: each array split over `data` along its largest axis.

    That is the largest of those which the devices divide; an array with none is
    replicated.
    """
    devices = mesh.shape["data"]

    def split(leaf: jax.ShapeDtypeStruct) -> NamedSharding:
        sides = [side if side % devices == 0 else 0 for side in leaf.shape]
        if not any(sides):
            return replicated(mesh)
        spec: list[str | None] = [None] * len(sides)
        spec[sides.index(max(sides))] = "data"
        return NamedSharding(mesh, PartitionSpec(*spec))

    return jax.tree.map(split, shapes)


def check_batch_size(batch_size: int, mesh: Mesh, field: str, pieces: int = 1) -> None:
    """Raise a UserError unless the devices of `data` divide each piece of the batch."""
    devices = mesh.shape["data"]
    parts = devices * pieces
    if batch_size < 1 or batch_size % parts:
        nearest = max(1, round(batch_size / parts)) * parts
        each = f"{pieces} pieces on each of " if pieces > 1 else ""
        space = mesh.shape["space"]
        units = "devices" if space == 1 else f"groups of {space} devices"
        raise UserError(
            f"{field}={batch_size} cannot be divided over {each}{devices} {units}; "
            f"use a multiple of {parts}, such as {nearest}"
        )


def to_devices(
    batch: Mapping[str, np.ndarray], sharding: NamedSharding
) -> dict[str, jax.Array]:
    """The global batch, from the images that this process holds."""
    return {
        name: jax.make_array_from_process_local_data(sharding, images)
        for name, images in batch.items()
    }
