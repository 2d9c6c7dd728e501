"""How many classes a data set has, known without its files."""

from train.data import DATASETS, cityscapes, pascal_context, shapes, voc
from train.data.relabel import read_table
from train.user.errors import UserError
from train.user.names import nearest

UNKNOWN = 21
"""Taken where the files of the set would say it: as many as PASCAL VOC."""

CLASSES = {
    "ade20k": len(read_table("ade20k").names),
    "cityscapes": len(cityscapes.CLASS_NAMES),
    "coco_voc": len(voc.CLASS_NAMES),
    "cocostuff10k": len(read_table("cocostuff10k").names),
    "pascal_context": len(pascal_context.CLASS_NAMES),
    "shapes": len(shapes.CLASS_NAMES),
    "voc2012": len(voc.CLASS_NAMES),
    "voc2012aug": len(voc.CLASS_NAMES),
}
"""By name in `train.data.DATASETS`; "folder" is anyone's own."""


def num_classes(name: str) -> int:
    """Classes of a data set, `UNKNOWN` where only its files know.

    Raises:
        UserError: there is no such data set.

    Example:
        >>> num_classes("voc2012aug"), num_classes("cityscapes")
        (21, 19)
    """
    if name not in DATASETS:
        raise UserError(
            f"config.data.name={name!r} is unknown; {nearest(name, DATASETS)}"
        )
    return CLASSES.get(name, UNKNOWN)
