"""The files that a network can be exported to."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from jax import Array

from train.export.onnx_file import converter, write_onnx
from train.export.stablehlo import write_stablehlo
from train.export.tflite_file import litert, write_tflite
from train.user.errors import UserError
from train.user.names import nearest

Program = Callable[[Array], dict[str, Array]]
"""uint8 (B, H, W, C) to named arrays."""

Shape = tuple[int, int, int]
"""Height, width and channels of its images."""


class Format(NamedTuple):
    """How a file is written, how its name ends, and what must be installed."""

    write: Callable[[Path, Program, Shape, str], None]
    suffix: str
    check: Callable[[], object] = lambda: None


FORMATS = {
    "stablehlo": Format(write_stablehlo, ".zip"),
    "onnx": Format(write_onnx, ".onnx", converter),
    "tflite": Format(write_tflite, ".tflite", litert),
}


def named_format(name: str, path: str) -> Format:
    """The format of a name, which fits the name of the file.

    Raises:
        UserError: there is none, or the file is named otherwise.
    """
    if name not in FORMATS:
        raise UserError(f"--format={name} is unknown; {nearest(name, FORMATS)}")
    chosen = FORMATS[name]
    if Path(path).suffix != chosen.suffix:
        raise UserError(f"{path} is no name for {name}; end it in {chosen.suffix}")
    return chosen
