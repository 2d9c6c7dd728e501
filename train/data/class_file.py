"""The class names, colours and ignore value that a folder of files declares."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ema_jax.classes import voc_palette
from train.data.access import IGNORE_LABEL
from train.data.listing import read_text
from train.user.errors import UserError


class ClassFile(NamedTuple):
    """Names, an RGB palette uint8 (num_classes, 3), and the files' ignore value."""

    names: tuple[str, ...]
    palette: NDArray[np.uint8]
    ignore: int


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
    ignore = _read_ignore(meta, len(names), meta_path)
    return ClassFile(tuple(names), _read_palette(meta, len(names), meta_path), ignore)


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


def _read_ignore(meta: dict[str, Any], num_classes: int, place: Path) -> int:
    ignore = meta.get("ignore", IGNORE_LABEL)
    if not isinstance(ignore, int) or not num_classes <= ignore <= IGNORE_LABEL:
        raise UserError(
            f'{place}: "ignore" is {ignore!r}; use a number in '
            f"{num_classes}..{IGNORE_LABEL}, which no class has"
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
