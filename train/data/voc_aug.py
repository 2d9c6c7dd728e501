"""PASCAL VOC 2012 with the Semantic Boundaries Dataset (SBD): the split `trainaug`.

    trainaug = (VOC train ∪ SBD train ∪ SBD val) − VOC val

Images of VOC train keep their VOC masks, whose borders are ignored; all others have
those of SBD, from its `.mat` files or from a ready folder `SegmentationClassAug`.
"""

from collections.abc import Mapping
from pathlib import Path

from ema_jax.classes import voc_palette
from train.data import voc
from train.data.archives import Archive
from train.data.builder import Contents, Pair
from train.data.listing import Finder, read_list, resolve_root
from train.data.masks import Mask, read_mask
from train.data.matlab import read_mat
from train.data.published import check_sizes, not_found, paired_contents
from train.data.relabel import Relabel

ARCHIVES = (
    *voc.ARCHIVES,
    Archive(
        file="benchmark.tgz",
        folder="benchmark_RELEASE",
        page="https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/"
        "semantic_contours",
        url="https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/"
        "semantic_contours/benchmark.tgz",
        checksum="md5:82b4d87ceb2ed10f6038a1cba92111cb",
    ),
)
SIZES = {"train": 1464, "trainaug": 10582, "val": 1449, "trainval": 2913}
READY = "SegmentationClassAug"
_SBD_LISTS = ("train.txt", "val.txt")
_CLASSES = Relabel({number: number for number in range(len(voc.CLASS_NAMES))})


def open_voc2012aug(root: str | None, sizes: Mapping[str, int] = SIZES) -> Contents:
    """What VOC 2012 and SBD consist of, below `root`.

    Args:
      root: the folder that holds VOCdevkit, and benchmark_RELEASE or SBD's dataset/ or
        the latter itself unless VOC2012 holds SegmentationClassAug.
      sizes: how many images each split must have.

    Raises:
      UserError: the layout, a list or a listed file is missing, or a split is short.
    """
    base = resolve_root(root, "voc2012aug")
    home = voc.find_home(base)
    images = home / "JPEGImages"
    finder = Finder([(images, home / "SegmentationClass")])
    lists = {name: home / voc.LISTS / f"{name}.txt" for name in voc.SPLITS}
    splits = {name: finder.pairs(path) for name, path in lists.items()}
    known = {pair.name for split in ("train", "val") for pair in splits[split]}
    extra = _ready(home, known) if (home / READY).is_dir() else _sbd(base, home, known)
    splits["trainaug"] = [*splits["train"], *extra]
    check_sizes(home, splits, sizes)
    palette = voc_palette(len(voc.CLASS_NAMES))
    return paired_contents(home, splits, voc.CLASS_NAMES, palette, read_label)


def read_label(path: Path) -> Mask:
    """The classes in a PNG of VOC or a `.mat` file of SBD."""
    if path.suffix != ".mat":
        return read_mask(path)
    return _CLASSES(read_mat(path, "GTcls", "Segmentation"), path)


def _ready(home: Path, known: set[str]) -> list[Pair]:
    """The masks of a ready folder, `known` names left out."""
    finder = Finder([(home / "JPEGImages", home / READY)])
    stems = finder.masks.stems(home / READY)
    return [finder.pair(s, str(path)) for s, path in stems.items() if s not in known]


def _sbd(base: Path, home: Path, known: set[str]) -> list[Pair]:
    """The images of both SBD lists, `known` names left out."""
    sbd = _find_sbd(base)
    folders = [(home / "JPEGImages", sbd / "cls"), (sbd / "img", sbd / "cls")]
    finder = Finder(folders, mask_suffixes=(".mat",))
    named = dict(item for name in _SBD_LISTS for item in read_list(sbd / name))
    return [finder.pair(n, place) for n, place in named.items() if n not in known]


def _find_sbd(base: Path) -> Path:
    above = (base, *base.parents[:2])  # `base` may be VOCdevkit or VOC2012
    inside = ("benchmark_RELEASE/dataset", "dataset", "sbd", ".")
    for sbd in (folder / name for folder in above for name in inside):
        if (sbd / "cls").is_dir():
            return sbd
    raise not_found(base, "benchmark_RELEASE/dataset/cls", ARCHIVES[-1:])
