"""The classes that a folder declares, and what stands for them in its masks."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ema_jax.classes import voc_palette
from train.data.access import IGNORE_LABEL
from train.data.coding import NAMED, Coding, pack
from train.data.listing import read_text
from train.data.polygons import read_json
from train.user.errors import UserError

LARGEST = 2**31 - 1
"""Index in a mask."""
TABLES = ("labels.csv", "class_dict.csv")
CVAT = "labelmap.txt"


class ClassFile(NamedTuple):
    """What a folder says of its classes.

    Attributes:
      names: of the classes.
      palette: uint8 (num_classes, 3) RGB.
      indices: the value of each class in the masks; None: nothing is said of it.
      ignore: values of pixels that count nowhere.
      colors: those of the classes, and ignored ones; none: masks are not in colour.
    """

    names: tuple[str, ...]
    palette: NDArray[np.uint8]
    indices: tuple[int, ...] | None = None
    ignore: tuple[int, ...] = (IGNORE_LABEL,)
    colors: Coding = MappingProxyType({})

    @property
    def told(self) -> Coding:
        """What is said of colours and names."""
        named = {NAMED + c: c for c in range(len(self.names))}
        return {**self.colors, **named, NAMED + IGNORE_LABEL: IGNORE_LABEL}


class Row(NamedTuple):
    """A class in a table."""

    name: str
    value: int | None
    color: tuple[int, ...] | None

    @property
    def is_ignored(self) -> bool:
        """Whether it is of pixels that count nowhere; in a list of names, none is."""
        told = self.value is not None or self.color is not None
        return told and self.name.lower() == "ignore"


def read_classes(root: Path, drawn: Callable[[], Sequence[str]] = tuple) -> ClassFile:
    """Reads the classes of a folder; the first that names them decides.

    classes.txt, a name per line; labels.csv or class_dict.csv, a table with the columns
    `name`, `value` and `color` or `r`, `g`, `b`, where the name "ignore" is of ignored
    pixels; CVAT's labelmap.txt; meta.json, which may also add to the others "palette",
    "values" and "ignore"; the polygons themselves.

    Args:
      root: the folder.
      drawn: gives the names of the classes that polygons have.

    Raises:
      UserError: none names the classes, or what they say does not fit together.
    """
    meta_path = root / "meta.json"
    meta = read_json(meta_path) if meta_path.is_file() else {}
    table = next((root / name for name in TABLES if (root / name).is_file()), None)
    if (listed := root / "classes.txt").is_file():
        lines = read_text(listed).splitlines()
        place, rows = listed, [Row(n.strip(), None, None) for n in lines if n.strip()]
    elif table is not None:
        place, rows = table, _read_table(table)
    elif (listed := root / CVAT).is_file():
        place, rows = listed, _read_labelmap(listed)
    elif "classes" in meta:
        place, names = meta_path, meta["classes"]
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            raise UserError(f"{place}: the classes are no list of names; write one")
        rows = [Row(name, None, None) for name in names]
    elif names := drawn():
        place, rows = root, [Row(name, None, None) for name in names]
    else:
        raise UserError(
            f"{root}: the classes have no names; write classes.txt (one per line, in "
            'the order of the indices) or meta.json with "classes"'
        )
    return _with_meta(_from_rows(rows, place), meta, meta_path)


def _from_rows(rows: Sequence[Row], place: Path) -> ClassFile:
    ignored = [row for row in rows if row.is_ignored]
    classes = [row for row in rows if not row.is_ignored]
    names = [row.name for row in classes]
    if not 1 <= len(names) <= IGNORE_LABEL:
        raise UserError(
            f"{place}: names {len(names)} classes; a mask holds 1 to {IGNORE_LABEL}"
        )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{place}: names '{twice}' twice; give each class its own name")
    values = [row.value for row in classes if row.value is not None]
    colors = [row.color for row in classes if row.color is not None]
    for found, kind in ((values, "value"), (colors, "color")):
        if found and (len(found) < len(names) or len(set(found)) < len(found)):
            raise UserError(
                f"{place}: not every class has a {kind} of its own; give each one"
            )
    ignore = [row.value for row in ignored if row.value is not None]
    return ClassFile(
        names=tuple(names),
        palette=np.array(colors, np.uint8) if colors else voc_palette(len(names)),
        indices=tuple(values) or None,
        ignore=tuple(ignore) or (IGNORE_LABEL,),
        colors=_colors(colors, [row.color for row in ignored if row.color is not None]),
    )


def _colors(
    classes: Sequence[Sequence[int]], ignored: Sequence[Sequence[int]]
) -> Mapping[int, int]:
    own = {int(pack(np.array(color))): c for c, color in enumerate(classes)}
    void = {int(pack(np.array(color))): IGNORE_LABEL for color in ignored}
    return void | own


def _read_table(path: Path) -> list[Row]:
    """The classes in a CSV file with a heading."""
    lines = list(csv.reader(read_text(path).splitlines(), skipinitialspace=True))
    heading = [cell.strip().lower() for cell in lines[0]] if lines else []
    heading = ["color" if cell == "colour" else cell for cell in heading]
    if "name" not in heading:
        raise UserError(
            f"{path}: its first line has no column 'name'; write a heading such as "
            "value,name,color"
        )
    rows = []
    for number, cells in enumerate(lines[1:], start=2):
        row = dict(zip(heading, map(str.strip, cells), strict=False))
        if not any(row.values()):
            continue
        place = f"{path}:{number}"
        value, color = row.get("value"), row.get("color")
        if color is None and {"r", "g", "b"} <= row.keys():
            color = f"{row['r']} {row['g']} {row['b']}"
        rows.append(
            Row(
                row.get("name", ""),
                _index(value, place) if value else None,
                _color(color, place) if color else None,
            )
        )
    return rows


def _read_labelmap(path: Path) -> list[Row]:
    """The classes in CVAT's labelmap.txt, `name:r,g,b:parts:actions`."""
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if line.strip() and not line.startswith("#"):
            name, _, rest = line.partition(":")
            color = rest.partition(":")[0]
            rows.append(Row(name.strip(), None, _color(color, f"{path}:{number}")))
    return rows


def _index(text: str, place: str) -> int:
    if text.isdecimal() and int(text) <= LARGEST:
        return int(text)
    raise UserError(f"{place}: the value is {text!r}; write a whole number, 0 or more")


def _color(text: str, place: str) -> tuple[int, ...]:
    """Of "#rrggbb", or three numbers with spaces, commas or semicolons between."""
    try:
        if text.startswith("#") and len(text) == 7:
            return tuple(bytes.fromhex(text[1:]))
        numbers = text.strip("()[]").replace(",", " ").replace(";", " ").split()
        color = tuple(bytes(map(int, numbers)))
        if len(color) == 3:
            return color
    except ValueError:
        pass
    raise UserError(f"{place}: the colour is {text!r}; write #rrggbb, or 255 128 0")


def _with_meta(classes: ClassFile, meta: dict[str, Any], place: Path) -> ClassFile:
    """The classes with what meta.json says beyond their names."""
    count = len(classes.names)
    if "values" in meta:
        classes = classes._replace(indices=_read_values(meta["values"], count, place))
    if "palette" in meta:
        palette = _read_palette(meta["palette"], count, place)
        own = _colors(palette.tolist(), [])
        ignored = {v: c for v, c in classes.colors.items() if c == IGNORE_LABEL}
        classes = classes._replace(palette=palette, colors=ignored | dict(own))
    if "ignore" in meta:
        indices = classes.indices or tuple(range(count))
        numbers, colors = _read_ignore(meta["ignore"], indices, place)
        classes = classes._replace(
            indices=indices,  # then the other values are the classes
            ignore=numbers,
            colors=dict(_colors([], colors)) | dict(classes.colors),
        )
    return classes


def _read_values(values: Any, count: int, place: Path) -> tuple[int, ...]:
    numbers = isinstance(values, list) and all(
        type(value) is int and 0 <= value <= LARGEST for value in values
    )
    if not numbers or len(set(values)) != len(values) or len(values) != count:
        raise UserError(
            f'{place}: "values" is {values!r}; write the {count} different values, '
            "0 or more, of the classes in the masks, in their order"
        )
    return tuple(values)


def _read_ignore(
    ignore: Any, indices: Sequence[int], place: Path
) -> tuple[tuple[int, ...], list[list[int]]]:
    """The numbers and the colours that are ignored."""
    given = ignore if isinstance(ignore, list) else [ignore]
    colors = [item for item in given if isinstance(item, list) and len(item) == 3]
    numbers = [item for item in given if not isinstance(item, list)]
    known = [type(n) is int and n >= 0 and n not in indices for n in numbers]
    bytes_ = [type(n) is int and 0 <= n <= 255 for color in colors for n in color]
    if not all(known + bytes_) or len(colors) + len(numbers) < len(given):
        free = next(value for value in range(IGNORE_LABEL + 1) if value not in indices)
        raise UserError(
            f'{place}: "ignore" is {ignore!r}; use a number in {free}..{IGNORE_LABEL}, '
            "which no class has, or several, or colours such as [[224, 224, 192]]"
        )
    return tuple(numbers), colors


def _read_palette(given: Any, count: int, place: Path) -> NDArray[np.uint8]:
    try:
        palette = np.array(given, np.uint8)
    except (ValueError, TypeError, OverflowError):
        palette = np.empty((0, 0), np.uint8)
    if palette.shape != (count, 3):
        raise UserError(
            f'{place}: "palette" must hold {count} RGB triples of 0..255, one '
            "per class; correct it or leave it out"
        )
    return palette
