"""PASCAL VOC 2012 segmentation, read from the VOCdevkit layout."""

from functools import partial
from pathlib import Path

from train.data.builder import Contents, verified_examples
from train.data.listing import Finder, fingerprint, read_list, resolve_root
from train.data.masks import voc_palette
from train.errors import UserError

CLASS_NAMES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
SPLITS = ("train", "val", "trainval")
_LISTS = Path("ImageSets", "Segmentation")


def open_voc2012(root: str | None) -> Contents:
    """What VOC 2012 consists of, below `root`.

    Args:
      root: the folder that holds VOCdevkit, VOCdevkit itself, or VOC2012 itself.

    Raises:
      UserError: the layout, a list or a listed file is missing.
    """
    home = _find_home(resolve_root(root, "voc2012"))
    finder = Finder([(home / "JPEGImages", home / "SegmentationClass")])
    lists = {name: home / _LISTS / f"{name}.txt" for name in SPLITS}
    splits = {
        name: [finder.pair(stem, place) for stem, place in read_list(path)]
        for name, path in lists.items()
        if path.is_file()
    }
    if not splits:
        raise UserError(
            f"{home / _LISTS}: holds no train.txt, val.txt or trainval.txt; "
            "unpack the whole VOC 2012 archive"
        )
    num_classes = len(CLASS_NAMES)
    return Contents(
        class_names=CLASS_NAMES,
        palette=voc_palette(num_classes),
        splits={
            name: partial(verified_examples, pairs, num_classes=num_classes)
            for name, pairs in splits.items()
        },
        fingerprint=fingerprint(home, splits),
    )


def _find_home(root: Path) -> Path:
    for home in (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012"):
        if (home / _LISTS).is_dir():
            return home
    raise UserError(
        f"{root}: no VOCdevkit/VOC2012/{_LISTS} below it; give the folder that holds "
        "VOCdevkit with --config.data.root=…"
    )
