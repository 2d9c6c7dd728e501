"""From the name of a data set to its decoded examples.

>>> from train.data import open_dataset
>>> dataset = open_dataset("shapes", root=None, data_dir=None)  # doctest: +SKIP
>>> dataset.source("val")[0]["image"].shape  # doctest: +SKIP
(117, 150, 3)
"""

from collections.abc import Callable

from train.data import (
    ade20k,
    cityscapes,
    coco_voc,
    cocostuff,
    pascal_context,
    voc,
    voc_aug,
)
from train.data.access import RandomAccess
from train.data.archives import Archive
from train.data.builder import Contents
from train.data.dataset import Dataset, open_named
from train.data.download import provide
from train.data.folder import open_folder
from train.data.shapes import open_shapes

__all__ = ["DATASETS", "Dataset", "RandomAccess", "open_dataset"]

DATASETS: dict[str, Callable[[str | None], Contents]] = {
    "ade20k": ade20k.open_ade20k,
    "cityscapes": cityscapes.open_cityscapes,
    "coco_voc": coco_voc.open_coco_voc,
    "cocostuff10k": cocostuff.open_cocostuff10k,
    "folder": open_folder,
    "pascal_context": pascal_context.open_pascal_context,
    "shapes": open_shapes,
    "voc2012": voc.open_voc2012,
    "voc2012aug": voc_aug.open_voc2012aug,
}
ARCHIVES: dict[str, tuple[Archive, ...]] = {
    "ade20k": ade20k.ARCHIVES,
    "cityscapes": cityscapes.ARCHIVES,
    "coco_voc": coco_voc.ARCHIVES,
    "cocostuff10k": cocostuff.ARCHIVES,
    "pascal_context": pascal_context.ARCHIVES,
    "voc2012": voc.ARCHIVES,
    "voc2012aug": voc_aug.ARCHIVES,
}
"""What the published ones are unpacked from."""


def open_dataset(name: str, *, root: str | None, data_dir: str | None) -> Dataset:
    """Opens a data set; the first time its records are verified and written.

    Args:
      name: a key of `DATASETS`.
      root: the folder of the set's files, packed or unpacked; `shapes` needs none, and
        sets that may be fetched without registration are fetched without it.
      data_dir: where prepared records and downloads go; None means TFDS's default
        folder.

    Raises:
      UserError: unknown name, missing folder or archive, a failed download, or a defect
        in the files.
    """
    if name in ARCHIVES:
        root = str(provide(name, ARCHIVES[name], root, data_dir))
    return open_named(name, DATASETS, root=root, data_dir=data_dir)
