"""COCO-Stuff 10k, version 1.1: 80 things and 91 kinds of stuff."""

from collections.abc import Mapping
from pathlib import Path

from train.data.archives import Archive
from train.data.builder import Contents
from train.data.listing import Finder, resolve_root
from train.data.masks import Mask
from train.data.matlab import read_mat
from train.data.published import check_sizes, not_found, paired_contents
from train.data.relabel import Relabel, consecutive, read_table

_PAGE = "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset"
ARCHIVES = (
    Archive(
        file="cocostuff-10k-v1.1.zip",
        folder="cocostuff-10k-v1.1",
        page="https://github.com/nightrome/cocostuff10k",
        url=f"{_PAGE}/cocostuff-10k-v1.1.zip",
        member="",
    ),
)
SIZES = {"train": 9000, "test": 1000}
_TABLE = read_table("cocostuff10k")
_CLASSES = Relabel(consecutive(_TABLE.numbers, ignored=(0,)))


def open_cocostuff10k(root: str | None, sizes: Mapping[str, int] = SIZES) -> Contents:
    """What COCO-Stuff 10k consists of, below `root`.

    The variable `S` of annotations/*.mat is 0 where unlabelled, which is ignored, and
    else one of 171 numbers between 1 and 182: eleven of COCO's categories were never
    annotated, so the numbers close up. Version 1.0 counts otherwise and is refused.

    Args:
      root: the folder that holds images/, annotations/ and imageLists/.
      sizes: how many images each split must have.

    Raises:
      UserError: the layout, a list or a listed file is missing, or a split is short.
    """
    home = _find_home(resolve_root(root, "cocostuff10k"))
    folders = [(home / "images", home / "annotations")]
    finder = Finder(folders, mask_suffixes=(".mat",))
    lists = {name: home / "imageLists" / f"{name}.txt" for name in SIZES}
    splits = {name: finder.pairs(path) for name, path in lists.items()}
    check_sizes(home, splits, sizes)
    return paired_contents(home, splits, _TABLE.names, _TABLE.palette, read_label)


def read_label(path: Path) -> Mask:
    """The classes in an annotation file."""
    return _CLASSES(read_mat(path, "S"), path)


def _find_home(root: Path) -> Path:
    for home in (root, root / ARCHIVES[0].folder):
        if (home / "imageLists").is_dir():
            return home
    raise not_found(root, "imageLists", ARCHIVES)
