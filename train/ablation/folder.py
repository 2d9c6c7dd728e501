"""The folders of an ablation and of its runs: whose they are, and what they hold."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from train.ablation.grid import Ablation
from train.configuration.config import field_names, from_json, to_json
from train.data import Dataset
from train.user.errors import UserError
from train.user.folders import not_written, writable_folder
from train.workdir.lock import WorkdirLock

NAME = "ablation.json"

SPECIFICATION, RESULT = "run.json", "result.json"

PLACES = ("data.root", "data.data_dir", "data.num_threads", "data.prefetch")
"""Fields that say where and how data is read; what is read has a fingerprint."""


def check_local(workdir: str) -> None:
    """Raise a UserError for object storage: tables and figures are local files."""
    if "://" in workdir:
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


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """What cannot be written, as on a full disk, is a `UserError`."""
    try:
        yield
    except OSError as error:
        raise not_written("workdir", folder, error) from error


def claim(folder: Path, ablation: Ablation) -> None:
    """Say in a folder whose tables it holds; points, seeds and iterations may change.

    Raises:
        UserError: those of an ablation of another name, or over other axes.
    """
    wanted = {"name": ablation.name, "axes": [axis.name for axis in ablation.axes]}
    old = read_json(folder / NAME) or wanted
    if old != wanted:
        over = ", ".join(old["axes"]) or "nothing"
        raise UserError(
            f"--workdir={folder} holds the ablation {old['name']} over {over}; "
            "choose another workdir"
        )
    with writing(folder):
        write_json(folder / NAME, wanted)


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
        values = {
            "config": to_json(self.config),
            "dataset": self.dataset,
            "eval_iters": list(self.eval_iters),
        }
        write_json(folder / SPECIFICATION, values)


def read_specification(folder: Path) -> Specification:
    """What `run.json` of a folder says."""
    values = json.loads((folder / SPECIFICATION).read_text())
    return Specification(
        from_json(values["config"]),
        values.get("dataset", ""),
        tuple(values["eval_iters"]),
    )


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
    path = Path(dataset.folder) / "dataset_info.json"
    info = json.loads(path.read_text())
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
    names = {*field_names(old), *field_names(new)} - {*PLACES}
    for name in sorted(names, key=lambda name: (name == "seed", name)):
        if value_of(old, name) != value_of(new, name):
            return name
    return None


def value_of(config: ConfigDict, name: str) -> Any:
    """The value of a dotted field, None where there is none."""
    value: Any = config
    for part in name.split("."):
        if part not in value:
            return None
        value = value[part]
    return value


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a dictionary; see `replace`."""
    write_text(path, json.dumps(values, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text; see `replace`."""
    replace(path, lambda partial: partial.write_text(text))


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` fill a file, which then takes the place of `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    try:
        write(partial)
        with partial.open("rb") as file:
            os.fsync(file.fileno())  # or a power cut leaves the name without the bytes
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any] | None:
    """The dictionary in a file, None if there is none that can be read."""
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None
