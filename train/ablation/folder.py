"""The folders of an ablation and of its runs: whose they are, and what they hold."""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from train.ablation.grid import Ablation
from train.configuration.config import flat, from_json, to_json
from train.data import Dataset
from train.user.errors import UserError
from train.user.files import is_remote, write_whole
from train.user.folders import writable_folder
from train.workdir.lock import WorkdirLock

ABLATION = "ablation.json"
SPECIFICATION, RESULT, LOG = "run.json", "result.json", "log.txt"
"""In the folder of each run."""

COST, COST_LOG = "cost.json", "cost.txt"
"""Beside the runs of a point, which differ in their seeds alone."""

FINISHED, DIVERGED, FAILED = "finished", "diverged", "failed"

PLACES = {"data.root", "data.data_dir", "data.num_threads", "data.prefetch"}
"""Fields that say where and how data is read; what is read has a fingerprint."""


def check_local(workdir: str) -> None:
    """Raise a UserError for object storage: tables and figures are local files."""
    if is_remote(workdir):
        raise UserError(
            f"--workdir={workdir} is object storage, which an ablation cannot write; "
            "give a folder of this machine"
        )


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make a folder, and keep other ablations from it meanwhile.

    Raises:
        UserError: it cannot be written, or another ablation has it.
    """
    writable_folder("workdir", folder)
    with contextlib.closing(WorkdirLock(str(folder))):
        yield


def claim(folder: Path, ablation: Ablation) -> None:
    """Say in a folder whose tables it holds; points, seeds and iterations may change.

    Raises:
        UserError: those of an ablation of another name, or over other axes.
    """
    wanted = {"name": ablation.name, "axes": list(ablation.axes)}
    old = read_json(folder / ABLATION) or wanted
    if old != wanted:
        over = ", ".join(old["axes"]) or "nothing"
        raise UserError(
            f"--workdir={folder} holds the ablation {old['name']} over {over}; "
            "choose another workdir"
        )
    write_json(folder / ABLATION, wanted)


@dataclass(frozen=True)
class Specification:
    """What `run.json` holds.

    Attributes:
        config: of the training.
        dataset: the fingerprint of its data.
        eval_iters: EM iterations at which it is evaluated; none: as its config says.
    """

    config: ConfigDict
    dataset: str
    eval_iters: tuple[int, ...] = ()

    def write(self, folder: Path) -> None:
        """Say in `folder` what is to be trained.

        A result that answers another question, or nobody knows which, is dropped: the
        training goes on from its last checkpoint and is evaluated anew.
        """
        old = read_json(folder / SPECIFICATION)
        if old is None or tuple(old["eval_iters"]) != self.eval_iters:
            (folder / RESULT).unlink(missing_ok=True)
        values = {"config": to_json(self.config), "dataset": self.dataset}
        write_json(folder / SPECIFICATION, values | {"eval_iters": self.eval_iters})


def read_specification(folder: Path) -> Specification:
    """What `run.json` of a folder says."""
    values = json.loads((folder / SPECIFICATION).read_text())
    config, iters = from_json(values["config"]), tuple(values["eval_iters"])
    return Specification(config, values.get("dataset", ""), iters)


def check_unchanged(folder: Path, wanted: Specification) -> None:
    """Compare with what the folder, and those of other seeds beside it, hold.

    Raises:
        UserError: another training, or another data set.
    """
    for path in sorted(folder.parent.glob(f"*/{SPECIFICATION}")):
        old = read_json(path)
        if old is None:
            continue
        name = differing_field(from_json(old["config"]), wanted.config)
        if name is not None and (path.parent == folder or name != "seed"):
            raise UserError(
                f"{path.parent} was begun with another config.{name}; choose another "
                "--workdir, or that value"
            )
        if old.get("dataset", wanted.dataset) != wanted.dataset:
            raise UserError(
                f"{path.parent} was begun with other data than what "
                f"config.data.root={wanted.config.data.root} holds now; choose another "
                "--workdir, or that data"
            )


def fingerprint(dataset: Dataset) -> str:
    """16 hex digits that change with the records, wherever they lie.

    They stand for the classes, and the number and bytes of the examples of each split.
    """
    info = json.loads((Path(dataset.folder) / "dataset_info.json").read_text())
    splits = {
        split["name"]: (split["shardLengths"], split["numBytes"])
        for split in info["splits"]
    }
    text = json.dumps([dataset.class_names, splits], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def differing_field(old: ConfigDict, new: ConfigDict) -> str | None:
    """The first field that makes another training of two configs, if any.

    The seed comes last, so that it is named only where nothing else differs.
    """
    one, two = flat(old), flat(new)
    names = {name for name in one | two if one.get(name) != two.get(name)} - PLACES
    return min(names, key=lambda name: (name == "seed", name), default=None)


def result_of(folder: Path) -> dict[str, Any] | None:
    """What a run left behind, None if it did not end."""
    result = read_json(folder / RESULT)
    return result if result and "status" in result else None


def fail(folder: Path, error: str) -> dict[str, Any]:
    """The result of a run that ended with an error, written to its folder."""
    # the one way in which `train.training.divergence` and `train.training.loop` word it
    diverged = "lower config.optimizer.learning_rate" in error
    result = {"status": DIVERGED if diverged else FAILED, "error": error}
    write_json(folder / RESULT, result)
    return result


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a dictionary; see `write_whole`."""
    write_whole(path, json.dumps(values, indent=1) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The dictionary in a file, None if there is none that can be read."""
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None
