"""PASCAL Context: 59 classes and the background, on the images of VOC 2010.

Two forms of the annotation give the same masks:

- the authors' `trainval/*.mat`, whose `LabelMap` tells 459 labels apart. The 59 of the
  benchmark are classes 1 to 59 and all others the background, class 0;
- OpenMMLab's `SegmentationClassContext/*.png`, which holds these 60 classes.

In both the 59 stand in the order of the 459, which is the alphabet. The authors' list
`59_labels.txt` has another, VOC's twenty first: masks numbered by it do not fit here.
"""

from collections.abc import Mapping
from pathlib import Path

from ema_jax.classes import voc_palette
from train.data.access import IGNORE_LABEL
from train.data.archives import Archive
from train.data.builder import Contents, Pair
from train.data.listing import Finder, resolve_root
from train.data.masks import Mask, read_mask
from train.data.matlab import read_mat
from train.data.published import check_sizes, not_found, paired_contents
from train.data.relabel import Relabel, consecutive, read_table

ARCHIVES = (
    Archive(
        file="VOCtrainval_03-May-2010.tar",
        folder="VOCdevkit/VOC2010",
        page="http://host.robots.ox.ac.uk/pascal/VOC/voc2010",
        url="http://host.robots.ox.ac.uk/pascal/VOC/voc2010/VOCtrainval_03-May-2010.tar",
    ),
    Archive(
        file="trainval.tar.gz",
        folder="trainval",
        page="https://www.cs.stanford.edu/~roozbeh/pascal-context",
        url="https://www.cs.stanford.edu/~roozbeh/pascal-context/trainval.tar.gz",
        checksum="md5:df034edb2c12aa7d33b42b20bb1796e3",
    ),
)
SIZES = {"train": 4998, "val": 5105}
_TABLE = read_table("pascal_context")
CLASS_NAMES = ("background", *_TABLE.names)
_LABELS = Relabel(consecutive(_TABLE.numbers, first=1), other=0)
_CLASSES = Relabel(consecutive(tuple(range(len(CLASS_NAMES))), ignored=(IGNORE_LABEL,)))


def open_pascal_context(root: str | None, sizes: Mapping[str, int] = SIZES) -> Contents:
    """What PASCAL Context consists of, below `root`.

    Args:
      root: the folder that holds VOCdevkit, or VOC2010 itself; SegmentationClassContext
        lies in VOC2010 with the lists ImageSets/SegmentationContext, or trainval/ next
        to VOCdevkit or in VOC2010, with VOC's own lists ImageSets/Main.
      sizes: how many images each split must have.

    Raises:
      UserError: the layout, a list or a listed file is missing, or a split is short.
    """
    base = resolve_root(root, "pascal_context")
    home = _find_home(base)
    splits = _splits(base, home)
    check_sizes(home, splits, sizes)
    palette = voc_palette(len(CLASS_NAMES))
    return paired_contents(home, splits, CLASS_NAMES, palette, read_label)


def read_label(path: Path) -> Mask:
    """The 60 classes in either kind of annotation file."""
    if path.suffix == ".mat":
        return _LABELS(read_mat(path, "LabelMap"), path)
    return _CLASSES(read_mask(path), path)


def _splits(base: Path, home: Path) -> dict[str, list[Pair]]:
    images, ready = home / "JPEGImages", home / "SegmentationClassContext"
    if ready.is_dir():
        finder, lists = Finder([(images, ready)]), "SegmentationContext"
    else:
        masks = _find_masks(base, home)
        finder, lists = Finder([(images, masks)], mask_suffixes=(".mat",)), "Main"
    return {s: finder.pairs(home / "ImageSets" / lists / f"{s}.txt") for s in SIZES}


def _find_home(root: Path) -> Path:
    for home in (root, root / "VOC2010", root / "VOCdevkit" / "VOC2010"):
        if (home / "JPEGImages").is_dir():
            return home
    raise not_found(root, "VOCdevkit/VOC2010/JPEGImages", ARCHIVES)


def _find_masks(base: Path, home: Path) -> Path:
    for folder in (base, home, home.parent, home.parent.parent):
        if (folder / "trainval").is_dir():
            return folder / "trainval"
    raise not_found(base, "trainval nor SegmentationClassContext", ARCHIVES[1:])
