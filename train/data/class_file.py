"""The class names, colours and ignore value that a folder of files declares."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ema_jax.classes import voc_palette
from train.data.access import IGNORE_LABEL
from train.data.listing import read_text
from train.user.errors import UserError


class ClassFile(NamedTuple):
    """What a folder says of its classes.

    Attributes:
      names: of the classes.
      palette: uint8 (num_classes, 3) RGB.
      ignore: the value of pixels that count nowhere.
      values: that of each class in the masks; None: nothing is said of it.
    """

    names: tuple[str, ...]
    palette: NDArray[np.uint8]
    ignore: int
    values: tuple[int, ...] | None


def read_classes(root: Path) -> ClassFile:
    """Reads classes.txt (one name per line) and meta.json; names in the first win.

    Raises:
      UserError: neither names the classes, or what they say does not fit together.
    """
    listed, meta_path = root / "classes.txt", root / "meta.json"
    meta = _read_json(meta_path) if meta_path.is_file() else {}
    if listed.is_file():
        place, lines = listed, read_text(listed).splitlines()
        names = [line.strip() for line in lines if line.strip()]
    elif "classes" in meta:
        place, names = meta_path, meta["classes"]
    else:
        raise UserError(
            f"{root}: the classes have no names; write classes.txt (one per line, in "
            'the order of the indices) or meta.json with "classes"'
        )
    _check_names(names, place)
    values = _read_values(meta, len(names), meta_path)
    ignore = _read_ignore(meta, values or range(len(names)), meta_path)
    if "ignore" in meta and values is None:  # then the other values are the classes
        values = tuple(range(len(names)))
    palette = _read_palette(meta, len(names), meta_path)
    return ClassFile(tuple(names), palette, ignore, values)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        meta = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: is not JSON ({error}); correct it") from error
    if not isinstance(meta, dict):
        raise UserError(f'{path}: is not an object; write {{"classes": […]}}')
    return meta


def _check_names(names: Any, place: Path) -> None:
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise UserError(f"{place}: the classes are no list of names; write one")
    if not 1 <= len(names) <= IGNORE_LABEL:
        raise UserError(
            f"{place}: names {len(names)} classes; a mask holds 1 to {IGNORE_LABEL}"
        )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{place}: names '{twice}' twice; give each class its own name")


def _read_values(
    meta: dict[str, Any], num_classes: int, place: Path
) -> tuple[int, ...] | None:
    if "values" not in meta:
        return None
    values = meta["values"]
    numbers = isinstance(values, list) and all(
        type(value) is int and 0 <= value <= IGNORE_LABEL for value in values
    )
    if not numbers or len(set(values)) != len(values) or len(values) != num_classes:
        raise UserError(
            f'{place}: "values" is {values!r}; write the {num_classes} different '
            f"values 0..{IGNORE_LABEL} of the classes in the masks, in their order"
        )
    return tuple(values)


def _read_ignore(meta: dict[str, Any], values: Sequence[int], place: Path) -> int:
    ignore = meta.get("ignore", IGNORE_LABEL)
    free = [value for value in range(256) if value not in values]
    if "ignore" in meta and (type(ignore) is not int or ignore not in free):
        raise UserError(
            f'{place}: "ignore" is {ignore!r}; use a number in '
            f"{free[0]}..{IGNORE_LABEL}, which no class has"
        )
    return ignore


def _read_palette(
    meta: dict[str, Any], num_classes: int, place: Path
) -> NDArray[np.uint8]:
    if "palette" not in meta:
        return voc_palette(num_classes)
    try:
        palette = np.array(meta["palette"], np.uint8)
    except (ValueError, TypeError, OverflowError):
        palette = np.empty((0, 0), np.uint8)
    if palette.shape != (num_classes, 3):
        raise UserError(
            f'{place}: "palette" must hold {num_classes} RGB triples of 0..255, one '
            "per class; correct it or leave it out"
        )
    return palette
