"""Cityscapes, fine annotations: 19 classes of street scenes."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from train.data.access import IGNORE_LABEL
from train.data.archives import Archive
from train.data.builder import Contents, Pair
from train.data.listing import resolve_root
from train.data.masks import Mask, read_mask
from train.data.published import check_sizes, not_found, paired_contents
from train.data.relabel import Relabel, consecutive
from train.user.errors import UserError

_PAGE = "https://www.cityscapes-dataset.com/downloads"
ARCHIVES = tuple(
    Archive(file=f"{folder}_trainvaltest.zip", folder=folder, page=_PAGE)
    for folder in ("leftImg8bit", "gtFine")
)
SIZES = {"train": 2975, "val": 500}
CLASSES = {
    # number in *_labelIds.png: name, colour
    7: ("road", 0x804080),
    8: ("sidewalk", 0xF423E8),
    11: ("building", 0x464646),
    12: ("wall", 0x66669C),
    13: ("fence", 0xBE9999),
    17: ("pole", 0x999999),
    19: ("traffic light", 0xFAAA1E),
    20: ("traffic sign", 0xDCDC00),
    21: ("vegetation", 0x6B8E23),
    22: ("terrain", 0x98FB98),
    23: ("sky", 0x4682B4),
    24: ("person", 0xDC143C),
    25: ("rider", 0xFF0000),
    26: ("car", 0x00008E),
    27: ("truck", 0x000046),
    28: ("bus", 0x003C64),
    31: ("train", 0x005064),
    32: ("motorcycle", 0x0000E6),
    33: ("bicycle", 0x770B20),
}
CLASS_NAMES = tuple(name for name, _ in CLASSES.values())
_PALETTE = np.array([list(c.to_bytes(3)) for _, c in CLASSES.values()], np.uint8)
_OTHERS = tuple(n for n in range(34) if n not in CLASSES)
_IDS = Relabel(consecutive(tuple(CLASSES), ignored=(*_OTHERS, IGNORE_LABEL)))
_TRAIN_IDS = Relabel(consecutive(tuple(range(len(CLASSES))), ignored=(IGNORE_LABEL,)))
_IMAGE, _MASKS = "_leftImg8bit", ("_gtFine_labelIds.png", "_gtFine_labelTrainIds.png")


def open_cityscapes(root: str | None, sizes: Mapping[str, int] = SIZES) -> Contents:
    """What Cityscapes consists of, below `root`: leftImg8bit/ and gtFine/.

    The labels come from *_labelIds.png, of whose 34 numbers 19 are classes and the rest
    is ignored; or, where there is none, from *_labelTrainIds.png.

    Args:
      root: the folder that holds both folders.
      sizes: how many images each split must have.

    Raises:
      UserError: the layout or a mask is missing, or a split is short.
    """
    home = resolve_root(root, "cityscapes")
    for archive in ARCHIVES:
        if not (home / archive.folder).is_dir():
            raise not_found(home, archive.folder, [archive])
    splits = {split: list(_pairs(home, split)) for split in SIZES}
    check_sizes(home, splits, sizes)
    return paired_contents(home, splits, CLASS_NAMES, _PALETTE, read_label)


def read_label(path: Path) -> Mask:
    """The train ids in either kind of label file."""
    relabel = _TRAIN_IDS if path.name.endswith(_MASKS[1]) else _IDS
    return relabel(read_mask(path), path)


def _pairs(home: Path, split: str) -> Iterator[Pair]:
    """The images of all cities of a split."""
    for image in sorted((home / "leftImg8bit" / split).glob(f"*/*{_IMAGE}.png")):
        name = image.stem.removesuffix(_IMAGE)
        folder = home / "gtFine" / split / image.parent.name
        found = [folder / f"{name}{end}" for end in _MASKS]
        mask = next((path for path in found if path.is_file()), None)
        if mask is None:
            raise UserError(
                f"{image}: has no {found[0]}; unpack the whole {ARCHIVES[1].file}"
            )
        yield Pair(name, image, mask)
