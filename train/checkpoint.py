"""Checkpoints: state, position in the data and config together, saved by orbax."""

import math
from collections.abc import Sequence
from textwrap import shorten
from typing import Any

import orbax.checkpoint as ocp
from etils import epath
from ml_collections import ConfigDict
from orbax.checkpoint.checkpoint_managers import (
    AnyPreservationPolicy,
    BestN,
    LatestN,
)

from train.config import from_json, to_json
from train.errors import UserError
from train.state import TrainState

METRIC = "mean_iou"
ITEMS = ("state", "data", "config", "classes")


class Checkpoints:
    """The checkpoints of a workdir, below `checkpoints/`.

    Each holds the state, the position in the data, the config and the classes, so
    that evaluation and prediction need nothing else. The newest and the best by
    validation mIoU are kept. Writing goes on in the background; a partial write is
    never taken for a checkpoint.
    """

    def __init__(
        self,
        workdir: str,
        *,
        keep_last: int = 1,
        keep_best: int = 1,
        read_only: bool = False,
    ):
        """Open the checkpoints of `workdir`, which need not exist to be written.

        Raises:
            UserError: the workdir cannot be written.
        """
        self.workdir = workdir
        directory = epath.Path(workdir).absolute() / "checkpoints"
        if not read_only:
            _make_directory(directory)
        best = BestN(
            get_metric_fn=_metric, n=keep_best, keep_checkpoints_without_metrics=False
        )
        options = ocp.CheckpointManagerOptions(
            best_fn=_metric,
            create=not read_only,
            read_only=read_only,
            preservation_policy=AnyPreservationPolicy([LatestN(keep_last), best]),
        )
        self._manager = ocp.CheckpointManager(
            directory, options=options, item_names=ITEMS
        )

    def steps(self) -> Sequence[int]:
        """Steps of the complete checkpoints, ascending."""
        return sorted(self._manager.all_steps())

    def find(self, which: str) -> int:
        """The step that "best", "last" or a number names."""
        steps = self.steps()
        if not steps:
            raise UserError(f"--workdir={self.workdir} has no checkpoint; train first")
        if which == "last":
            return steps[-1]
        if which == "best":
            best = self._manager.best_step()
            return steps[-1] if best is None else best
        if not which.isdecimal() or int(which) not in steps:
            raise UserError(
                f"--checkpoint={which} is not in {self.workdir}; "
                f"there are best, last, {', '.join(map(str, steps))}"
            )
        return int(which)

    def save(
        self,
        state: TrainState,
        config: ConfigDict,
        classes: dict[str, Any],
        mean_iou: float | None = None,
    ) -> None:
        """Start writing a checkpoint; it is complete after `close`."""
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        arguments = ocp.args.Composite(
            state=ocp.args.StandardSave(state),
            data=ocp.args.JsonSave({"next_batch": step}),
            config=ocp.args.JsonSave(to_json(config)),
            classes=ocp.args.JsonSave(classes),
        )
        scored = mean_iou is not None and math.isfinite(mean_iou)
        metrics = {METRIC: mean_iou} if scored else None
        self._manager.save(step, args=arguments, metrics=metrics)

    def restore(self, step: int, like: TrainState) -> tuple[TrainState, int]:
        """The state of a step, placed as `like`, and the next batch to train on."""
        arguments = ocp.args.Composite(
            state=ocp.args.StandardRestore(like), data=ocp.args.JsonRestore()
        )
        restored = self._read(step, arguments)
        return restored["state"], restored["data"]["next_batch"]

    def describe(self, step: int) -> tuple[ConfigDict, dict[str, Any]]:
        """The config and the classes that a checkpoint was made with."""
        arguments = ocp.args.Composite(
            config=ocp.args.JsonRestore(), classes=ocp.args.JsonRestore()
        )
        restored = self._read(step, arguments)
        return from_json(restored["config"]), restored["classes"]

    def _read(self, step: int, arguments: ocp.args.Composite) -> Any:
        try:
            return self._manager.restore(step, args=arguments)
        except Exception as error:  # orbax and its formats have their own types
            reason = shorten(f"{type(error).__name__}: {error}", 200)
            raise UserError(
                f"{self._manager.directory / str(step)}: the checkpoint cannot be "
                f"restored ({reason}); choose another with --checkpoint, or move its "
                "folder away to go on from the one before"
            ) from error

    def close(self) -> None:
        """Finish writing and release the directory."""
        self._manager.close()


def _metric(metrics: dict[str, float]) -> float:
    return metrics[METRIC]


def _make_directory(directory: epath.Path) -> None:
    """Create a directory and prove that it can be written."""
    probe = directory / ".writable"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"--workdir: {directory} cannot be written ({error.strerror}); "
            "choose another"
        ) from error
