"""What a training is: its facts, how its config differs, and its versions."""

import platform
from importlib.metadata import version
from typing import Any

import jax
from ml_collections import ConfigDict

from train.configuration.config import SHIPPED, flat, load_config
from train.data import Dataset
from train.report.page import About
from train.update.state import TrainState
from train.workdir.checkpoint import absolute

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
ABSENT = "–"


def describe(
    config: ConfigDict,
    workdir: str,
    dataset: Dataset,
    state: TrainState,
    num_steps: int,
    num_images: tuple[int, int],
) -> About:
    """What a page says of a training.

    Args:
        config, workdir, dataset, state: of the training.
        num_steps: updates that it is to make.
        num_images: to train on, and to evaluate on.
    """
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    return About(
        absolute(workdir).name,
        dataset.class_names,
        dataset.palette,
        config.data.val_split,
        num_steps,
        {
            "model": config.model.name,
            "parameters": f"{parameters / 1e6:.2f} M",
            "data": dataset.name,
            "images": f"{num_images[0]} + {num_images[1]}",
        },
        differences(config),
        versions(),
    )


def differences(config: ConfigDict) -> list[tuple[str, str, str]]:
    """Each field that is not as in `configs/default.py`: name, value, and default."""
    here, default = flat(config), flat(load_config(str(SHIPPED / "default.py")))
    return [
        (name, _text(here, name), _text(default, name))
        for name in here | default
        if here.get(name, ...) != default.get(name, ...)
    ]


def versions() -> dict[str, str]:
    """Of what computes, and on what."""
    devices = jax.devices()
    found = {"Python": platform.python_version()}
    found |= {name: version(name) for name in PACKAGES}
    found["system"] = f"{platform.system()} {platform.machine()}"
    found["devices"] = f"{len(devices)} × {devices[0].device_kind}"
    found["processes"] = str(jax.process_count())
    return found


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name, ABSENT)
    return value if isinstance(value, str) else repr(value)
