"""The device mesh, and where arrays live on it."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from train.errors import UserError


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Devices along one axis, `data`; by default all of all processes."""
    devices = jax.devices() if devices is None else devices
    return Mesh(np.array(devices), ("data",))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The first axis split over `data`."""
    return NamedSharding(mesh, PartitionSpec("data"))


def check_batch_size(batch_size: int, mesh: Mesh, field: str) -> None:
    """Raise a UserError unless the devices divide the batch."""
    devices = mesh.devices.size
    if batch_size < 1 or batch_size % devices:
        nearest = max(1, round(batch_size / devices)) * devices
        raise UserError(
            f"{field}={batch_size} cannot be divided over {devices} devices; "
            f"use a multiple of {devices}, such as {nearest}"
        )


def to_devices(
    batch: Mapping[str, np.ndarray], sharding: NamedSharding
) -> dict[str, jax.Array]:
    """The global batch, from the rows that this process holds."""
    return {
        name: jax.make_array_from_process_local_data(sharding, rows)
        for name, rows in batch.items()
    }
