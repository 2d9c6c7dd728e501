"""The devices that work together, and how arrays lie on them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from train.user.errors import UserError


@dataclass(frozen=True)
class DeviceMesh:
    """Devices along two axes, and how arrays lie on them; made once by `make_mesh`.

    Attributes:
        mesh: images are split over its axis `data`, and the rows of each image over
            `space`, whose devices belong to one process.
        batch: an array whose first axis is split over `data`, the second over `space`.
        images: one whose first axis is split over `data`: whole images.
        everywhere: one that every device has.
    """

    mesh: Mesh
    batch: NamedSharding
    images: NamedSharding
    everywhere: NamedSharding

    @property
    def shape(self) -> Mapping[str, int]:
        """Devices along each axis."""
        return self.mesh.shape

    @property
    def size(self) -> int:
        """How many devices there are."""
        return self.mesh.size

    @property
    def devices(self) -> np.ndarray:
        """All of them, (data, space)."""
        return self.mesh.devices


def make_mesh(
    devices: Sequence[jax.Device] | None = None, *, space: int = 1
) -> DeviceMesh:
    """Devices along `data` and `space`; by default all of all processes.

    Raises:
        UserError: `space` does not divide the devices of a process, or there is none.
    """
    devices = found_devices() if devices is None else devices
    held = np.unique([device.process_index for device in devices], return_counts=True)
    local = int(np.gcd.reduce(held[1]))
    if local % space:
        divisors = ", ".join(str(n) for n in range(1, local + 1) if local % n == 0)
        raise UserError(
            f"config.mesh.space={space} does not divide the {local} devices of a "
            f"process; give one of {divisors}"
        )
    mesh = Mesh(np.array(devices).reshape(-1, space), ("data", "space"))
    axes = ("data", "space") if space > 1 else ("data",)
    return DeviceMesh(
        mesh,
        batch=NamedSharding(mesh, PartitionSpec(*axes)),
        images=NamedSharding(mesh, PartitionSpec("data")),
        everywhere=NamedSharding(mesh, PartitionSpec()),
    )


def found_devices() -> list[jax.Device]:
    """All devices of all processes; a UserError where jax finds none."""
    try:
        return jax.devices()
    except (RuntimeError, AssertionError) as error:  # as its versions have it
        platforms = os.environ.get("JAX_PLATFORMS", "")
        raise UserError(
            f"JAX_PLATFORMS={platforms}: jax finds no such device; unset it, or "
            "install jax's plugin for it, such as jax[cuda13]"
        ) from error


def check_batch_size(
    batch_size: int, mesh: DeviceMesh, field: str, pieces: int = 1
) -> None:
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
