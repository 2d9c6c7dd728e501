"""COCO 2017 with the 20 classes of PASCAL VOC, for pretraining."""

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ema_jax.classes import voc_palette
from train.data.archives import Archive
from train.data.builder import Contents, Example, Pair, verified_examples
from train.data.coco_masks import class_mask
from train.data.listing import fingerprint, resolve_root
from train.data.masks import Mask
from train.data.published import not_found
from train.data.voc import CLASS_NAMES
from train.user.errors import UserError

log = logging.getLogger("ema_jax")

_PAGE = "https://cocodataset.org/#download"
_HOST = "http://images.cocodataset.org"
ARCHIVES = (
    Archive(
        file="annotations_trainval2017.zip",
        folder="annotations",
        page=_PAGE,
        url=f"{_HOST}/annotations/annotations_trainval2017.zip",
        checksum="sha256:"
        "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
    ),
    Archive(
        file="val2017.zip",
        folder="val2017",
        page=_PAGE,
        url=f"{_HOST}/zips/val2017.zip",
        checksum="sha256:"
        "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
    ),
    Archive(
        file="train2017.zip",
        folder="train2017",
        page=_PAGE,
        url=f"{_HOST}/zips/train2017.zip",
        checksum="sha256:"
        "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
    ),
)
SIZES = {"train": 118287, "val": 5000}
MIN_AREA = 1000
_OTHER_NAMES = {
    "airplane": "aeroplane",
    "couch": "sofa",
    "dining table": "diningtable",
    "motorcycle": "motorbike",
    "potted plant": "pottedplant",
    "tv": "tvmonitor",
}


def open_coco_voc(root: str | None, sizes: Mapping[str, int] = SIZES) -> Contents:
    """COCO's train2017 and val2017, below `root`, with VOC's 21 classes.

    An image is taken where its objects of VOC's classes cover more than 1000 pixels.
    Objects of other classes are background, as are things without a mask in COCO;
    pixels of two classes are ignored.

    Args:
      root: the folder that holds annotations/, train2017/ and val2017/.
      sizes: how many images each list of COCO's must have.

    Raises:
      UserError: the layout is not there.
    """
    home = resolve_root(root, "coco_voc")
    parts = {split: _Split(home, split, sizes[split]) for split in SIZES}
    files = {s: [Pair(s, part.images, part.file)] for s, part in parts.items()}
    return Contents(
        class_names=CLASS_NAMES,
        palette=voc_palette(len(CLASS_NAMES)),
        splits={split: part.examples for split, part in parts.items()},
        # the lists alone: to read them takes minutes
        fingerprint=fingerprint(home, files, min_area=MIN_AREA),
    )


class _Split:
    """One list of instances, read when its examples are asked for."""

    def __init__(self, home: Path, split: str, size: int) -> None:
        self.file = home / "annotations" / f"instances_{split}2017.json"
        self.images = home / f"{split}2017"
        self.size = size
        for path in (self.file, self.images):
            if not path.exists():
                raise not_found(home, str(path.relative_to(home)), ARCHIVES)

    def examples(self) -> Iterator[Example]:
        """The verified examples; UserError for a damaged list, image or object."""
        log.info("reading %s", self.file)
        try:
            instances = json.loads(self.file.read_bytes())
            images = {image["id"]: image for image in instances["images"]}
            classes = _voc_classes(instances["categories"])
            objects = _by_image(instances["annotations"], classes)
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise UserError(
                f"{self.file}: is no list of COCO instances ({error!r}); restore it "
                f"from {ARCHIVES[0].file}"
            ) from error
        if len(images) != self.size:
            raise UserError(
                f"{self.file}: lists {len(images)} images, and the published one "
                f"{self.size}; restore it from {ARCHIVES[0].file}"
            )

        def read_label(place: Path) -> Mask:
            identity = int(place.name)
            image = images[identity]
            listed = [(classes[o["category_id"]], o) for o in objects[identity]]
            try:
                shapes = [(label, o["segmentation"]) for label, o in listed]
                return class_mask(shapes, (image["height"], image["width"]))
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(
                    f"{place.parent}: image {identity} has an object that cannot be "
                    f"drawn ({error}); restore the file from {ARCHIVES[0].file}"
                ) from error

        pairs = [
            Pair(f"{i:012d}", self.images / images[i]["file_name"], self.file / str(i))
            for i, listed in objects.items()
            if sum(o["area"] for o in listed) > MIN_AREA
        ]
        return verified_examples(
            pairs, num_classes=len(CLASS_NAMES), read_label=read_label
        )


def _voc_classes(categories: list[dict[str, Any]]) -> dict[int, int]:
    """COCO's category number -> VOC's class, for those that VOC has."""
    names = {c["id"]: _OTHER_NAMES.get(c["name"], c["name"]) for c in categories}
    known = {i: CLASS_NAMES.index(n) for i, n in names.items() if n in CLASS_NAMES}
    if len(known) != len(CLASS_NAMES) - 1:
        raise ValueError(f"has {len(known)} of the {len(CLASS_NAMES) - 1} categories")
    return known


def _by_image(
    annotations: list[dict[str, Any]], classes: Mapping[int, int]
) -> dict[int, list[dict[str, Any]]]:
    """The objects of VOC's classes by the number of their image, in order."""
    found: dict[int, list[dict[str, Any]]] = {}
    for item in annotations:
        if item["category_id"] in classes:
            found.setdefault(item["image_id"], []).append(item)
    return dict(sorted(found.items()))
