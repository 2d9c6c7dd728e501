"""ADE20K as of the scene parsing challenge 2016: 150 classes."""

from collections.abc import Mapping
from pathlib import Path

from train.data.archives import Archive
from train.data.builder import Contents
from train.data.listing import Finder, resolve_root
from train.data.masks import Mask, read_mask
from train.data.published import check_sizes, not_found, paired_contents
from train.data.relabel import Relabel, consecutive, read_table

ARCHIVES = (
    Archive(
        file="ADEChallengeData2016.zip",
        folder="ADEChallengeData2016",
        page="http://sceneparsing.csail.mit.edu",
        url="http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
        checksum="sha1:219e1696abb36c8ba3a3afe7fb2f4b4606a897c7",
    ),
)
SIZES = {"train": 20210, "val": 2000}
FOLDERS = {"train": "training", "val": "validation"}
_TABLE = read_table("ade20k")
_CLASSES = Relabel(consecutive(_TABLE.numbers, ignored=(0,)))


def open_ade20k(root: str | None, sizes: Mapping[str, int] = SIZES) -> Contents:
    """What ADE20K consists of, below `root`: images/ and annotations/.

    In the files 0 is unlabelled, which is ignored, and 1 to 150 are the classes.

    Args:
      root: the folder that holds ADEChallengeData2016, or it itself.
      sizes: how many images each split must have.

    Raises:
      UserError: the layout or a mask is missing, or a split is short.
    """
    home = _find_home(resolve_root(root, "ade20k"))
    splits = {}
    for split, folder in FOLDERS.items():
        images = home / "images" / folder
        finder = Finder([(images, home / "annotations" / folder)])
        stems = finder.images.stems(images)
        splits[split] = [finder.pair(stem, str(path)) for stem, path in stems.items()]
    check_sizes(home, splits, sizes)
    return paired_contents(home, splits, _TABLE.names, _TABLE.palette, read_label)


def read_label(path: Path) -> Mask:
    """The classes in an annotation file."""
    return _CLASSES(read_mask(path), path)


def _find_home(root: Path) -> Path:
    for home in (root, root / "ADEChallengeData2016"):
        if (home / "annotations").is_dir():
            return home
    raise not_found(root, "ADEChallengeData2016/annotations", ARCHIVES)
