"""From the name of a data set to its decoded examples, and to what they hold.

>>> from train.data import open_dataset
>>> dataset = open_dataset("shapes", root=None, data_dir=None)  # doctest: +SKIP
>>> dataset.source("val")[0]["image"].shape  # doctest: +SKIP
(117, 150, 3)
"""

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from typing import Any

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
from train.data.splits import FolderOptions
from train.user.errors import UserError

__all__ = ["DATASETS", "Dataset", "RandomAccess", "data_options", "open_dataset"]

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
OPTIONS = ("root", "data_dir", "label_map", *(f.name for f in fields(FolderOptions)))
"""Fields of `config.data` that decide the records."""


def open_dataset(
    name: str,
    *,
    root: str | None,
    data_dir: str | None,
    label_map: Sequence[tuple[str, str]] = (),
    in_channels: int = 3,
    **folder: Any,
) -> Dataset:
    """Opens a data set; the first time its records are verified and written.

    Args:
      name: a key of `DATASETS`.
      root: the folder of the set's files, packed or unpacked; `shapes` needs none, and
        sets that may be fetched without registration are fetched without it.
      data_dir: where prepared records and downloads go; None means TFDS's default
        folder.
      label_map: pairs of a class and the one to which it is joined, or "ignore".
      in_channels: of the images; other than 3 for the set `folder` alone.
      **folder: `FolderOptions`, of that set alone.

    Raises:
      UserError: unknown name, missing folder or archive, a failed download, or a defect
        in the files.
    """
    if name in ARCHIVES:
        root = str(provide(name, ARCHIVES[name], root, data_dir))
    openers = dict(DATASETS)
    given = {key: value for key, value in folder.items() if value is not None}
    if name == "folder":
        options = FolderOptions(in_channels=in_channels, **given)
        openers[name] = partial(open_folder, options=options)
    elif in_channels != 3:
        raise UserError(
            f"config.model.in_channels={in_channels} is for the data set 'folder'; the "
            f"images of {name!r} have 3"
        )
    elif given:
        raise UserError(
            f"config.data.{next(iter(given))} is of the data set 'folder', not of "
            f"{name!r}; leave it out"
        )
    return open_named(name, openers, root=root, data_dir=data_dir, label_map=label_map)


def data_options(config: Any) -> dict[str, Any]:
    """What `open_dataset` takes of a config, which may be older than a field."""
    data, model = config.data, config.model
    options = {key: getattr(data, key) for key in OPTIONS if key in data}
    given = model.in_channels if "in_channels" in model else None
    return options | {"in_channels": 3 if given is None else given}
