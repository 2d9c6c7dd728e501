"""PASCAL VOC 2012 segmentation, read from the VOCdevkit layout."""

from pathlib import Path

from ema_jax.classes import VOC
from train.data.archives import Archive
from train.data.builder import Contents
from train.data.listing import Finder, resolve_root
from train.data.published import not_found, paired_contents
from train.user.errors import UserError

ARCHIVES = (
    Archive(
        file="VOCtrainval_11-May-2012.tar",
        folder="VOCdevkit/VOC2012",
        page="http://host.robots.ox.ac.uk/pascal/VOC/voc2012",
        url="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
        checksum="md5:6cd6e144f989b92b3379bac3b3de84fd",
    ),
)
CLASS_NAMES = VOC.names
SPLITS = ("train", "val", "trainval")
LISTS = Path("ImageSets", "Segmentation")


def open_voc2012(root: str | None) -> Contents:
    """What VOC 2012 consists of, below `root`.

    Args:
      root: the folder that holds VOCdevkit, VOCdevkit itself, or VOC2012 itself.

    Raises:
      UserError: the layout, a list or a listed file is missing.
    """
    home = find_home(resolve_root(root, "voc2012"))
    finder = Finder([(home / "JPEGImages", home / "SegmentationClass")])
    lists = {name: home / LISTS / f"{name}.txt" for name in SPLITS}
    splits = {
        name: finder.pairs(path) for name, path in lists.items() if path.is_file()
    }
    if not splits:
        raise UserError(
            f"{home / LISTS}: holds no train.txt, val.txt or trainval.txt; "
            "unpack the whole VOC 2012 archive"
        )
    return paired_contents(home, splits, CLASS_NAMES, VOC.palette)


def find_home(root: Path) -> Path:
    """The folder VOC2012 at or below `root`; UserError if there is none."""
    for home in (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012"):
        if (home / LISTS).is_dir():
            return home
    raise not_found(root, f"VOCdevkit/VOC2012/{LISTS}", ARCHIVES)
