"""What the values in masks stand for: numbers, colours, and names of classes.

A mask as it is read holds a whole number for each pixel, so that one table serves all:
an index is itself, a colour lies from `COLOR` on, a class that is known by its name
from `NAMED` on.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from train.data.access import IGNORE_LABEL
from train.data.masks import Mask
from train.user.errors import UserError

log = logging.getLogger("ema_jax")

Values = NDArray[np.integer]
"""(H, W)."""
Coding = Mapping[int, int]
"""Value to the class it stands for, or 255."""

COLOR = 1 << 32
NAMED = 1 << 33
SMALL = 1 << 16
"""Values below it are counted in a table."""
SHOWN = 8


def pack(rgb: NDArray[np.uint8]) -> Values:
    """The values of colours (…, 3).

    Example:
        >>> shown(pack(np.array([255, 128, 0])))
        '#ff8000'
    """
    red, green, blue = np.moveaxis(np.asarray(rgb, np.int64), -1, 0)
    return COLOR + (red << 16) + (green << 8) + blue


def shown(value: int) -> str:
    """A value as a person knows it."""
    return f"#{value - COLOR:06x}" if COLOR <= value < NAMED else str(value)


def identity(num_classes: int, ignore: Iterable[int] = (IGNORE_LABEL,)) -> Coding:
    """Values that are the classes themselves."""
    return dict.fromkeys(ignore, IGNORE_LABEL) | {c: c for c in range(num_classes)}


def decode(values: Values, coding: Coding, path: Path) -> Mask:
    """The classes of a mask, uint8 (H, W).

    Raises:
      UserError: a value stands for nothing; each is named, with its number of pixels.
    """
    present, place = _unique(values)
    label = np.array([coding.get(v, -1) for v in present.tolist()], np.int16)[place]
    if (label < 0).any():
        raise UserError(f"{path}: holds {_wrong(values[label < 0], coding)}")
    return label.astype(np.uint8)


def values_held(values: Values) -> Values:
    """The values that a mask holds, ascending."""
    if values.max(initial=0) < SMALL:  # without a sort
        return np.flatnonzero(np.bincount(values.ravel()))
    return np.unique(values)


def _unique(values: Values) -> tuple[Values, NDArray[np.intp]]:
    """The values that a mask holds, and which of them each pixel is (H, W)."""
    present = values_held(values)
    size = int(present.max(initial=0)) + 1
    if size > SMALL:
        return present, np.searchsorted(present, values)
    places = np.zeros(size, np.intp)
    places[present] = np.arange(len(present))
    return present, places[values]


def _wrong(values: Values, coding: Coding) -> str:
    """Values that stand for nothing, and those that would."""
    present, counts = np.unique(values, return_counts=True)
    told = [
        f"{shown(value)} ({count} pixels)" if value >= COLOR else str(value)
        for value, count in zip(present.tolist(), counts, strict=True)
    ]
    colored = bool(present[-1] >= COLOR)
    known = [v for v in sorted(coding) if v < NAMED and (v >= COLOR) == colored]
    classes = [value for value in known if coding[value] != IGNORE_LABEL]
    void = [shown(value) for value in known if coding[value] == IGNORE_LABEL]
    said = _few([shown(value) for value in classes])
    if classes == list(range(len(classes))):
        said = f"0..{len(classes) - 1}"
    ignored = _few(void) or "another"
    mend = "correct the mask or the list of classes"
    if len(told) > max(SHOWN, len(classes)):
        mend = f"it may have been smoothed: export it again without, or {mend}"
    return f"{_few(told)}, neither a class ({said}) nor {ignored} (ignore); {mend}"


def _few(words: Sequence[str]) -> str:
    return ", ".join(words[:SHOWN]) + ", …" * (len(words) > SHOWN)


def told_or_found(
    told: Coding,
    indices: Sequence[int] | None,
    ignore: Sequence[int],
    masks: Iterable[Callable[[], Values]],
    names: Sequence[str],
) -> Coding:
    """What a file tells of the values, and what the masks show.

    Args:
      told: of colours and names.
      indices: the value of each class, where the file says it; else None.
      ignore: values that are ignored unless they are of a class.
      masks: reads each mask of the data set; read only where nothing is said.
      names: of the classes.
    """
    if indices is None:
        indices = _found(masks, names)
    numbers = {value: c for c, value in enumerate(indices)}
    return {**dict.fromkeys(ignore, IGNORE_LABEL), **numbers, **told}


def _found(masks: Iterable[Callable[[], Values]], names: Sequence[str]) -> list[int]:
    each = [
        {value for value in values_held(mask()).tolist() if value < COLOR}
        for mask in masks
    ]
    present = sorted(set().union(*each))
    values = infer_values(present, len(names))
    unlike = sum(IGNORE_LABEL in found and 1 not in found for found in each)
    if present == [0, 1, IGNORE_LABEL] and len(names) == 2 and unlike:
        log.warning(
            "%d of %d masks hold %d and no 1, which others hold: their %d is ignored; "
            "where it is '%s', write 1 in its place",
            *(unlike, len(each), IGNORE_LABEL, IGNORE_LABEL, names[1]),
        )
    if values != list(range(len(names))):
        pairs = zip(values, names, strict=True)
        log.info(
            "no mask holds anything but %s: %s; if that is wrong, write "
            '"ignore" or "values" in meta.json',
            ", ".join(map(str, present)),
            ", ".join(f"{value} is '{name}'" for value, name in pairs),
        )
    return values


def infer_values(found: Sequence[int], num_classes: int) -> list[int]:
    """The values of the classes, from all that the masks hold.

    Two classes as 0 and any other value, as most tools write them, 255 among them; and
    classes counted from one. All else is taken for the classes themselves.

    Example:
        >>> infer_values([0, 255], 2), infer_values([1, 2, 3, 255], 3)
        ([0, 255], [1, 2, 3])
        >>> infer_values([0, 1, 255], 2), infer_values([0, 2, 255], 3)
        ([0, 1], [0, 1, 2])
    """
    if num_classes == 2 and len(found) == 2 and found[0] == 0:
        return [0, found[1]]
    classes = [value for value in found if value != IGNORE_LABEL]
    if classes and classes[0] > 0 and classes[-1] == num_classes:
        return list(range(1, num_classes + 1))
    return list(range(num_classes))
