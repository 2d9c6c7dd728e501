"""Data sets by name.

>>> from train.data import open_dataset
>>> dataset = open_dataset("shapes", root=None, data_dir=None)  # doctest: +SKIP
>>> dataset.source("val")[0]["image"].shape  # doctest: +SKIP
(117, 150, 3)
"""

from collections.abc import Callable

from train.data.access import RandomAccess
from train.data.builder import Contents
from train.data.dataset import Dataset, open_named
from train.data.folder import open_folder
from train.data.shapes import open_shapes
from train.data.voc import open_voc2012

__all__ = ["DATASETS", "Dataset", "RandomAccess", "open_dataset"]

DATASETS: dict[str, Callable[[str | None], Contents]] = {
    "folder": open_folder,
    "shapes": open_shapes,
    "voc2012": open_voc2012,
}


def open_dataset(name: str, *, root: str | None, data_dir: str | None) -> Dataset:
    """Opens a data set; the first time its records are verified and written.

    Args:
      name: a key of `DATASETS`.
      root: the folder of the user's files; `shapes` needs none.
      data_dir: where prepared records go; None means TFDS's default folder.

    Raises:
      UserError: unknown name, missing folder, or a defect in the user's files.
    """
    return open_named(name, DATASETS, root=root, data_dir=data_dir)
