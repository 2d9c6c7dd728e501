"""Folders to write in, proved before any work."""

import os
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
        directory.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise not_written(option, directory, error) from error
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


def not_written(option: str, path: epath.PathLike, error: OSError) -> UserError:
    """What to say of a file or folder that could not be written."""
    reason = error.strerror or error
    return UserError(f"--{option}: {path} cannot be written ({reason}); choose another")
