"""What the openers of published data sets share."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from train.data.archives import Archive
from train.data.builder import Contents, Pair, verified_examples
from train.data.listing import fingerprint
from train.data.masks import Mask, read_mask
from train.user.errors import UserError

Splits = Mapping[str, Sequence[Pair]]


def paired_contents(
    home: Path,
    splits: Splits,
    class_names: tuple[str, ...],
    palette: NDArray[np.uint8],
    read_label: Callable[[Path], Mask] = read_mask,
) -> Contents:
    """Contents of files in pairs.

    Args:
      home: the data set's folder.
      splits: its pairs.
      class_names: one per class.
      palette: uint8 (num_classes, 3) RGB.
      read_label: from a label file to classes and 255.
    """
    examples = partial(
        verified_examples, num_classes=len(class_names), read_label=read_label
    )
    return Contents(
        class_names=class_names,
        palette=palette,
        splits={name: partial(examples, pairs) for name, pairs in splits.items()},
        fingerprint=fingerprint(home, splits, names=class_names),
    )


def check_sizes(home: Path, splits: Splits, sizes: Mapping[str, int]) -> None:
    """UserError for the first split that is not of its published size."""
    for name, size in sizes.items():
        found = len(splits.get(name, ()))
        if found != size:
            raise UserError(
                f"{home}: split '{name}' has {found} images, and the published one "
                f"{size}; unpack the whole archives"
            )


def not_found(home: Path, missing: str, archives: Sequence[Archive]) -> UserError:
    """The error for a folder without `missing`, saying what to put there."""
    listed = " and ".join(f"{a.file} (from {a.page})" for a in archives)
    return UserError(
        f"{home}: no {missing} below it; put {listed} there, packed or unpacked, or "
        "give another folder with --config.data.root=…"
    )
