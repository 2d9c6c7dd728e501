"""Where a training goes on: at its last checkpoint, or at the start."""

import logging
from collections.abc import Callable
from functools import cache

from ml_collections import ConfigDict

from ema_jax import Segmenter
from ema_jax.classes import Classes
from train.configuration.config import flat
from train.model.build import ONLY_AT_START, build_model
from train.update.state import TrainState
from train.user.errors import UserError
from train.workdir.checkpoint import Checkpoints, DamagedCheckpointError

log = logging.getLogger("ema_jax")

MUST_MATCH = ("model", "seed", "batch_size", "data.name", "checkpoint.best")
"""Without which a checkpoint does not fit, its data order ends, or best is another."""


def start_or_restore(
    checkpoints: Checkpoints,
    config: ConfigDict,
    classes: Classes,
    start: Callable[[], TrainState],
    like: TrainState,
    content: str | None = None,
) -> tuple[TrainState, int]:
    """The state to go on from, and the next batch to train on.

    That is the newest checkpoint which can be read; damaged ones are set aside.

    Args:
        checkpoints, config: of the training.
        classes: of its data.
        start: makes the state to begin with, once it is called.
        like: shapes, types and shardings of the state.
        content: changes with the images and masks that it trains on; None: unknown.

    Raises:
        UserError: the checkpoint was made with another model, set or class count, or
            none can be read.
    """
    steps = checkpoints.steps()
    if not steps:
        return start(), 0
    damaged: list[DamagedCheckpointError] = []
    for step in reversed(steps):
        try:
            check_fits(checkpoints, step, config, classes, content)
            restored = checkpoints.restore(step, like)
        except DamagedCheckpointError as error:
            damaged.append(error)
            continue
        if damaged:
            checkpoints.set_aside(damaged, [s for s in steps if s > step])
        return restored
    raise damaged[0]


def check_fits(
    checkpoints: Checkpoints,
    step: int,
    config: ConfigDict,
    classes: Classes,
    content: str | None,
) -> None:
    """Raise a UserError if a checkpoint is of another training."""
    saved_config, saved_classes = checkpoints.describe(step)
    check_same(checkpoints.workdir, saved_config, config)
    saved, given = tuple(saved_classes["names"]), classes.names
    if len(saved) != len(given):
        raise UserError(
            f"--workdir={checkpoints.workdir} holds a network of {len(saved)} "
            f"classes, but {config.data.name} has {len(given)}; choose another workdir"
        )
    for number, (old, new) in enumerate(zip(saved, given, strict=True)):
        if old != new:
            raise UserError(
                f"--workdir={checkpoints.workdir} holds a network whose class {number} "
                f"is {old!r}, but that of {config.data.name} is {new!r}; choose "
                "another workdir, or restore the names in their order"
            )
    if content is not None and saved_classes.get("content", content) != content:
        changed = (
            f"{config.data.train_split!r} of {config.data.name} is not what "
            f"--workdir={checkpoints.workdir} was trained on: images or masks were "
            "added, taken away or changed"
        )
        if config.data.suspicious == "stop":
            raise UserError(
                f"{changed}; choose another workdir, or go on with "
                "--config.data.suspicious=warn"
            )
        log.warning("%s; it goes on with what is there now", changed)


def check_same(workdir: str, saved: ConfigDict, config: ConfigDict) -> None:
    """Raise a UserError that names the first field in which a resumed run differs."""
    old, new = flat(saved), flat(config)
    one_network = cache(lambda: _network(saved) == _network(config))
    for name in sorted(old.keys() | new.keys()):
        if name.removeprefix("model.") in ONLY_AT_START:
            continue
        matters = any(name == m or name.startswith(f"{m}.") for m in MUST_MATCH)
        if matters and old.get(name) != new.get(name):
            of_model = name.startswith("model.") and name in old and name in new
            if of_model and one_network():
                continue  # None, and what it stands for
            raise UserError(
                f"--workdir={workdir} was trained with config.{name}="
                f"{old.get(name)!r}, not {new.get(name)!r}; "
                "choose another workdir, or that value"
            )


def _network(config: ConfigDict) -> Segmenter:
    """The network of a config, but for its classes."""
    return build_model(config.model, 2, config.data.crop_size)
