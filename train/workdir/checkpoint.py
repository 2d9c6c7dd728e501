"""Checkpoints: state, position in the data and config together, saved by orbax."""

import logging
import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from textwrap import shorten
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils
from ml_collections import ConfigDict
from orbax.checkpoint.checkpoint_managers import (
    AnyPreservationPolicy,
    BestN,
    LatestN,
)

from train.configuration.config import from_json, to_json
from train.devices.distributed import is_break
from train.evaluation.choice import FRESH, Patience
from train.update.state import TrainState
from train.user.errors import UserError
from train.user.files import is_remote
from train.user.folders import writable_folder
from train.workdir.digest import differs, digest
from train.workdir.lock import WorkdirLock

MERIT = "mean_iou"
"""Its name in the files, whatever the figure is."""
JSON_ITEMS = ("data", "config", "classes")
"""What a checkpoint holds beside the state."""
DAMAGED = "damaged"
"""Where in the workdir a training puts checkpoints that cannot be read."""

log = logging.getLogger("ema_jax")


class DamagedCheckpointError(UserError):
    """A checkpoint that cannot be restored.

    Attributes:
        what: the folder, and the reason.
    """

    def __init__(self, folder: epath.Path, reason: str):
        self.what = f"{folder}: the checkpoint cannot be restored ({reason})"
        super().__init__(
            f"{self.what}; choose another with --checkpoint, or move its folder away "
            "to go on from the one before"
        )


class Checkpoints:
    """The checkpoints of a workdir, below `checkpoints/`.

    Each holds the state, the position in the data, the config and the classes, so
    that evaluation and prediction need nothing else. The newest and the best by
    their merit are kept. Writing goes on in the background; a partial write is
    never taken for a checkpoint. The digests of the arrays are kept with them, as the
    format itself does not notice a changed number.
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
            UserError: the workdir cannot be written, or another training writes it.
        """
        self.workdir = workdir
        directory = absolute(workdir) / "checkpoints"
        self._lock: WorkdirLock | None = None
        local = not is_remote(workdir)
        if not read_only:
            writable_folder("workdir", directory)
            if local and jax.process_index() == 0:
                self._lock = WorkdirLock(workdir)
        best = BestN(
            get_metric_fn=_metric, n=keep_best, keep_checkpoints_without_metrics=False
        )
        options = ocp.CheckpointManagerOptions(
            best_fn=_metric,
            create=not read_only,
            cleanup_tmp_directories=local and not read_only,  # of a killed training
            read_only=read_only,
            preservation_policy=AnyPreservationPolicy([LatestN(keep_last), best]),
        )
        self._manager = ocp.CheckpointManager(
            directory,
            options=options,
            item_handlers={"state": _state_handler()}
            | {name: ocp.JsonCheckpointHandler() for name in JSON_ITEMS},
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
        merit: float | None = None,
        patience: Patience = FRESH,
    ) -> None:
        """Start writing a checkpoint; it is complete after `wait` or `close`.

        Args:
            state, config, classes: of the training.
            merit: the higher, the better; None: it was not evaluated.
            patience: of the training, to go on with.

        Raises:
            UserError: this one, or the one before, cannot be written.
        """
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        arguments = ocp.args.Composite(
            state=ocp.args.PyTreeSave(state),
            data=ocp.args.JsonSave(
                {"next_batch": step, "digests": digest(state), **patience._asdict()}
            ),
            config=ocp.args.JsonSave(to_json(config)),
            classes=ocp.args.JsonSave(classes),
        )
        scored = merit is not None and math.isfinite(merit)
        metrics = {MERIT: merit} if scored else None
        with self._writing():
            self._manager.wait_until_finished()  # the one before takes its room
            self._check_room(state)
            self._manager.save(step, args=arguments, metrics=metrics)

    def _check_room(self, state: TrainState) -> None:
        """Raise an OSError if the disk has no room for a state.

        Begun and not ended, a write leaves threads behind that print their own errors.
        """
        if is_remote(self.workdir):
            return
        needed = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        free = shutil.disk_usage(self._manager.directory).free
        if free < needed:
            megabytes = f"{needed / 1e6:.1f} MB, and {free / 1e6:.1f} MB are left"
            raise OSError(f"No space left on device for its {megabytes}")

    def wait(self) -> None:
        """Until what was saved is complete.

        Raises:
            UserError: it cannot be written.
        """
        with self._writing():
            self._manager.wait_until_finished()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """What fails here says so in one line."""
        try:
            yield
        except Exception as error:  # orbax and its formats have their own types
            if isinstance(error, jax.errors.JaxRuntimeError) or is_break(error):
                raise
            self._manager.reload()
            steps = self.steps()
            kept = (
                f"the checkpoint of step {steps[-1]} is kept"
                if steps
                else "there is none"
            )
            raise UserError(
                f"{self._manager.directory}: a checkpoint cannot be written "
                f"({_last_reason(error)}); {kept}; make room, and the same command "
                "goes on"
            ) from error

    def restore(self, step: int, like: TrainState) -> tuple[TrainState, int]:
        """The state of a step, placed as `like`, and the next batch to train on.

        Raises:
            DamagedCheckpointError: it cannot be read, or is not what was written.
        """
        placed = ocp.checkpoint_utils.construct_restore_args(like)
        arguments = ocp.args.Composite(
            state=ocp.args.PyTreeRestore(like, placed), data=ocp.args.JsonRestore()
        )
        restored = self._read(step, arguments)
        state, data = restored["state"], restored["data"]
        if "digests" in data and differs(state, data["digests"]):
            raise DamagedCheckpointError(
                self._folder(step), "its numbers are not those that were written"
            )
        return state, data["next_batch"]

    def patience(self, step: int) -> Patience:
        """How the evaluations went, up to a step."""
        data = self._read(step, ocp.args.Composite(data=ocp.args.JsonRestore()))["data"]
        return Patience(data.get("best"), data.get("without_gain", 0))

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
            raise DamagedCheckpointError(self._folder(step), reason) from error

    def _folder(self, step: int) -> epath.Path:
        return self._manager.directory / str(step)

    def set_aside(
        self, damaged: Sequence[DamagedCheckpointError], steps: Sequence[int]
    ) -> None:
        """Move the damaged checkpoints of `steps` out of the way, and say so."""
        target = absolute(self.workdir) / DAMAGED
        if jax.process_index() == 0:
            target.mkdir(exist_ok=True)
            for step in steps:
                _move(self._folder(step), target / str(step))
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("damaged checkpoints set aside")
        self._manager.reload()
        for error in damaged:
            log.warning("%s; it is moved to %s", error.what, target)

    def close(self) -> None:
        """Finish writing and release the directory.

        Raises:
            UserError: what was saved cannot be written.
        """
        try:
            self.wait()
            self._manager.close()
        finally:
            if self._lock is not None:
                self._lock.close()


def _state_handler() -> ocp.PyTreeCheckpointHandler:
    """Writes what all devices hold from one of them.

    Where each writes its part, the first save compiles a slice for every device and
    shape, while the training waits.
    """
    arrays = ocp.type_handlers.ArrayHandler(use_replica_parallel=False)
    registry = ocp.type_handlers.create_type_handler_registry((jax.Array, arrays))
    return ocp.PyTreeCheckpointHandler(type_handler_registry=registry)


def absolute(workdir: str) -> epath.Path:
    """The path of a workdir, from the root of its file system or bucket.

    Example:
        >>> str(absolute("gs://bucket/run"))
        'gs://bucket/run'
    """
    path = epath.Path(workdir)
    return path if is_remote(workdir) else path.absolute()


def _metric(metrics: dict[str, float]) -> float:
    return metrics[MERIT]


def _last_reason(error: Exception) -> str:
    """The innermost of reasons that stand in a row: "No space left on device"."""
    text = " ".join(str(error).split()).partition(" [os_error_code")[0]
    return shorten(text.rpartition(": ")[2] or type(error).__name__, 200)


def _move(folder: epath.Path, target: epath.Path) -> None:
    if target.exists():  # of an earlier time
        target.rmtree()
    folder.rename(target)
