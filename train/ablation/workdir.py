"""The folder of an ablation: whose it is, and that one process at a time writes it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from train.ablation.files import read_json, write_json
from train.ablation.grid import Ablation
from train.user.errors import UserError
from train.user.folders import not_written, writable_folder
from train.workdir.lock import WorkdirLock

NAME = "ablation.json"


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
