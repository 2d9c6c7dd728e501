"""`main.py export`: what can be known to fail does so before any work."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import jax

from ema_jax.segmenter import in_channels
from ema_jax.standalone import Output, standalone
from ema_jax.weights import Description
from train.export.formats import named_format
from train.export.new_file import new_file
from train.user.errors import UserError
from train.user.names import nearest

VERSION = 1
"""Of what is said about a program; raised when a reader must know."""

LARGEST = 8192
"""Pixels of a side."""


def export_network(
    load: Callable[[], tuple[Description, Mapping[str, Any]]],
    path: str,
    *,
    format: str,
    size: str,
    output: Output,
) -> str:
    """Write a network as one file that is used without this library.

    Args:
        load: gives the network, called when all else is known to do.
        path: of a file that does not exist.
        format: a name of `FORMATS`.
        size: of the images, HEIGHTxWIDTH.
        output: see `standalone`.

    Returns:
        One line that says what was written.

    Raises:
        UserError: an argument that cannot be used, a package that is missing, or a
            network that the format cannot hold.
    """
    chosen = named_format(format, path)
    height, width = parsed_size(size)
    if output not in get_args(Output):
        raise UserError(
            f"--output={output} is unknown; {nearest(output, get_args(Output))}"
        )
    chosen.check()
    with new_file(path):
        pass  # nothing is written yet, but could be
    description, variables = load()
    model = description.network.build()
    shape = (height, width, in_channels(model))
    program = standalone(
        model, jax.device_get(variables), description.preprocessing, output=output
    )
    with new_file(path) as part:
        chosen.write(part, program, shape, about(description, shape))
    megabytes = Path(path).stat().st_size / 1e6
    return f"{path}: {format}, images {height}x{width}, {output}, {megabytes:.1f} MB"


def parsed_size(text: str) -> tuple[int, int]:
    """Height and width.

    Raises:
        UserError: anything else, or sides that no image has.

    Example:
        >>> parsed_size("360x480")
        (360, 480)
    """
    match = re.fullmatch(r"(\d{1,9})[xX×](\d{1,9})", text)
    height, width = (int(match[1]), int(match[2])) if match else (0, 0)
    if not (1 <= height <= LARGEST and 1 <= width <= LARGEST):
        raise UserError(
            f"--size={text} is no size; give HEIGHTxWIDTH, each from 1 to {LARGEST} "
            "pixels, such as 513x513"
        )
    return height, width


def about(description: Description, shape: tuple[int, int, int]) -> str:
    """What a program does not say of itself, as JSON."""
    network, classes, preprocessing = description
    known: dict[str, Any] = {
        "version": VERSION,
        "size": list(shape[:2]),
        "channels": shape[2],
        "classes": list(classes.names),
        "palette": classes.palette.tolist(),
        "network": network._asdict(),
        "jax": jax.__version__,
    }
    if preprocessing is not None and preprocessing.value_range is not None:
        known["value_range"] = list(preprocessing.value_range)
    return json.dumps(known, ensure_ascii=False)
