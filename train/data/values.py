"""Which value in the masks stands for which class, where it is not the class itself."""

import logging
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from train.data.access import IGNORE_LABEL
from train.data.masks import Mask

log = logging.getLogger("ema_jax")

Values = tuple[int, ...]
"""The value of each class, in their order."""


def told_or_found(
    values: Values | None,
    masks: Iterable[Callable[[], Mask]],
    names: Sequence[str],
) -> Values:
    """The values that a file tells, or those that the masks show.

    Args:
      values: what the file says, or None.
      masks: reads each mask of the data set; read only where the file says nothing.
      names: of the classes.
    """
    if values is not None:
        return values
    found = np.zeros(256, bool)
    for mask in masks:
        found[np.unique(mask())] = True
    values = infer_values(np.flatnonzero(found).tolist(), len(names))
    if values != tuple(range(len(names))):
        meaning = ", ".join(
            f"{value} is '{name}'" for value, name in zip(values, names, strict=True)
        )
        log.info(
            "no mask holds anything but %s: %s; if that is wrong, write "
            '"ignore" or "values" in meta.json',
            ", ".join(map(str, np.flatnonzero(found))),
            meaning,
        )
    return values


def infer_values(found: Sequence[int], num_classes: int) -> Values:
    """The values of the classes, from all that the masks hold.

    Two classes as 0 and any other value, as most tools write them, 255 among them; and
    classes counted from one. All else is taken for the classes themselves.

    Example:
        >>> infer_values([0, 255], 2), infer_values([1, 2, 3, 255], 3)
        ((0, 255), (1, 2, 3))
        >>> infer_values([0, 1, 255], 2), infer_values([0, 2, 255], 3)
        ((0, 1), (0, 1, 2))
    """
    if num_classes == 2 and len(found) == 2 and found[0] == 0:
        return (0, found[1])
    classes = [value for value in found if value != IGNORE_LABEL]
    if classes and classes[0] > 0 and classes[-1] == num_classes:
        return tuple(range(1, num_classes + 1))
    return tuple(range(num_classes))
