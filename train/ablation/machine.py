"""The machine that a run is on, and whether it is to be shared."""

from typing import Any

import jax

from train.ablation.jobs import available_cores
from train.user.errors import UserError


def machine(jobs: int) -> dict[str, Any]:
    """What a speed depends on: devices, cores of this process, trainings at a time."""
    devices = jax.devices()
    return {
        "device": devices[0].device_kind,
        "devices": len(devices),
        "cores": len(available_cores()),
        "jobs": jobs,
        "jax": jax.__version__,
    }


def check_alone(jobs: int) -> None:
    """Raise a UserError where several trainings would share an accelerator."""
    platform = jax.default_backend()
    if jobs > 1 and platform != "cpu":
        raise UserError(
            f"--jobs={jobs} is for a CPU, and the trainings run on a {platform}; "
            "give --jobs=1"
        )
