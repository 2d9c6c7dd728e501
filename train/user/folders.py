"""Folders to write in, proved before any work."""

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import TypeVar
from uuid import uuid4

from etils import epath

from train.user.errors import UserError

Folder = TypeVar("Folder", bound=epath.PathLike)


def writable_folder(option: str, folder: Folder) -> Folder:
    """The folder of an option, made if need be, in which this process can write.

    Args:
        option: as it is given on the command line, without its hyphens.
        folder: a path, of this machine or gs://.

    Raises:
        UserError: it cannot be made, or not written.
    """
    directory = epath.Path(folder)
    probe = directory / f".writable-{uuid4().hex}"
    try:
        with writing(option, directory):
            directory.mkdir(parents=True, exist_ok=True)
            probe.write_text("")
            probe.unlink()
    except ImportError as error:
        raise UserError(
            f"--{option}: {directory} is object storage, which needs another package "
            f"({error}); pip install gcsfs google-cloud-storage"
        ) from error
    return folder


def check_new(path: str) -> None:
    """Raise a UserError where something has that name already."""
    if os.path.lexists(path):
        raise UserError(f"{path} exists; choose another name, or remove it")


@contextlib.contextmanager
def writing(
    option: str, path: epath.PathLike, full: str = "choose another"
) -> Iterator[None]:
    """Within it what cannot be written is a UserError, which says so of a path.

    Args:
        option: that names the path, or a folder above it.
        path: a file or folder.
        full: what to do where the disk is full.
    """
    try:
        yield
    except OSError as error:
        mend = full if error.errno in (errno.ENOSPC, errno.EDQUOT) else "choose another"
        reason = error.strerror or error
        raise UserError(
            f"--{option}: {path} cannot be written ({reason}); {mend}"
        ) from error
