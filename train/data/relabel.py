"""Published label numbers to consecutive classes, by tables in `classes/`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ema_jax.classes import voc_palette
from train.data.access import IGNORE_LABEL
from train.data.masks import Mask
from train.user.errors import UserError

_FOLDER = Path(__file__).parent / "classes"


class ClassTable(NamedTuple):
    """Names, colours uint8 (num_classes, 3) and the numbers in the published files."""

    names: tuple[str, ...]
    palette: NDArray[np.uint8]
    numbers: tuple[int, ...]


def read_table(name: str) -> ClassTable:
    """The table `classes/NAME.txt`: a class per line, `number [#rrggbb] name`.

    Without colours it has those of PASCAL VOC.

    Example:
        >>> table = read_table("ade20k")
        >>> len(table.names), table.names[2], table.numbers[2]
        (150, 'sky', 3)
        >>> table.palette[2].tolist()
        [6, 230, 230]
    """
    names, colours, numbers = [], [], []
    for line in (_FOLDER / f"{name}.txt").read_text().splitlines():
        number, text = line.split(maxsplit=1)
        if text.startswith("#"):
            colour, text = text.split(maxsplit=1)
            colours.append(list(bytes.fromhex(colour[1:])))
        names.append(text)
        numbers.append(int(number))
    palette = np.array(colours, np.uint8) if colours else voc_palette(len(names))
    return ClassTable(tuple(names), palette, tuple(numbers))


@dataclass(frozen=True)
class Relabel:
    """`relabel(values, path)`: the mask whose classes the values stand for.

    Attributes:
      classes: number in the file -> class, or 255 for what counts nowhere.
      other: the class of every other number; None: such a number is an error.
    """

    classes: Mapping[int, int]
    other: int | None = None

    def __call__(self, values: np.ndarray, path: Path) -> Mask:
        """Uint8 (H, W); UserError where a number stands for nothing."""
        whole = values.astype(np.int64)
        size = 1 + max(self.classes)
        table = np.full(size + 1, -1 if self.other is None else self.other, np.int16)
        table[list(self.classes)] = list(self.classes.values())
        # the last place is that of all numbers beyond the table
        outside = (whole != values) | (whole < 0) | (whole > size)
        mask = table[np.where(outside, size, whole)]
        if (mask < 0).any():
            wrong = np.unique(values[mask < 0])[:8]
            raise UserError(
                f"{path}: holds {', '.join(f'{v:g}' for v in wrong)}, which is no "
                "label of this data set; restore the file from its archive"
            )
        return mask.astype(np.uint8)


def consecutive(
    numbers: tuple[int, ...], *, first: int = 0, ignored: tuple[int, ...] = ()
) -> dict[int, int]:
    """`numbers` in their order as the classes from `first` on, and `ignored` as 255.

    Example:
        >>> consecutive((7, 8), ignored=(0,))
        {0: 255, 7: 0, 8: 1}
    """
    void = dict.fromkeys(ignored, IGNORE_LABEL)
    return void | {number: first + i for i, number in enumerate(numbers)}
