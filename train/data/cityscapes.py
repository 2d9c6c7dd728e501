"""Cityscapes, fine annotations: 19 classes of street scenes."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from ema_jax.classes import CITYSCAPES
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
CLASSES = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The numbers of `CITYSCAPES` in *_labelIds.png."""
CLASS_NAMES = CITYSCAPES.names
_OTHERS = tuple(n for n in range(34) if n not in CLASSES)
_IDS = Relabel(consecutive(CLASSES, ignored=(*_OTHERS, IGNORE_LABEL)))
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
    return paired_contents(home, splits, CLASS_NAMES, CITYSCAPES.palette, read_label)


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
