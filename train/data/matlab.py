"""Label maps in MATLAB files."""

from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from train.user.errors import UserError


def read_mat(path: Path, name: str, *fields: str) -> np.ndarray:
    """The integers (H, W) of a variable, or of a field of the 1x1 struct it is.

    Raises:
      UserError: the file is damaged, or holds no such label map.
    """
    place = ".".join([name, *fields])
    try:
        value: Any = scipy.io.loadmat(path, variable_names=[name])[name]
        for field in fields:
            value = value[field][0, 0]
    except Exception as error:  # the reader has its own for each kind of damage
        raise UserError(
            f"{path}: has no readable {place} ({' '.join(str(error).split())}); "
            "restore the file from its archive"
        ) from error
    if getattr(value, "ndim", 0) != 2 or not np.issubdtype(value.dtype, np.number):
        raise UserError(
            f"{path}: {place} is no label map (H, W) of numbers; "
            "restore the file from its archive"
        )
    return np.asarray(value)
