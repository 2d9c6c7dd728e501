"""A file that appears complete, or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from train.user.errors import UserError
from train.user.folders import check_new


@contextmanager
def new_file(path: str) -> Iterator[Path]:
    """Where to write a file, which then takes its name; if nothing is, there is none.

    Raises:
        UserError: there is one of that name, or it cannot be written.
    """
    try:
        check_new(path)
        parent = Path(path).parent
        with tempfile.TemporaryDirectory(dir=parent, prefix=".export-") as folder:
            part = Path(folder) / Path(path).name
            yield part
            if part.exists():
                os.replace(part, path)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror})") from error
