"""The classes a network tells apart: their names and colours."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Classes:
    """Names and colours of the classes.

    Attributes:
        names: one for each class; none where nobody knows them.
        palette: RGB, uint8 (num_classes, 3).

    Example:
        >>> Classes(("cat", "dog"), voc_palette(2)).to_json()
        {'names': ['cat', 'dog'], 'palette': [[0, 0, 0], [128, 0, 0]]}
    """

    names: tuple[str, ...]
    palette: NDArray[np.uint8]

    def __post_init__(self) -> None:
        """Raise a ValueError unless each name, if there are any, has its colour."""
        if self.names and len(self.names) != len(self.palette):
            raise ValueError(
                f"{len(self.names)} names do not fit {len(self.palette)} colours"
            )

    def __len__(self) -> int:
        return len(self.palette)

    def to_json(self) -> dict[str, Any]:
        """Plain lists."""
        return {"names": list(self.names), "palette": self.palette.tolist()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Classes":
        """The inverse of `to_json`."""
        palette = np.array(values["palette"], np.uint8).reshape(-1, 3)
        return cls(tuple(values["names"]), palette)


def voc_palette(num_classes: int) -> NDArray[np.uint8]:
    """The colours of PASCAL VOC, uint8 (num_classes, 3) RGB.

    Bits 0, 1, 2 of the class number are the top bits of red, green and blue, bits 3, 4,
    5 the next ones, and so on.

    Example:
        >>> voc_palette(3)
        array([[  0,   0,   0],
               [128,   0,   0],
               [  0, 128,   0]], dtype=uint8)
    """
    classes = np.arange(num_classes)[:, None]
    colours = np.zeros((num_classes, 3), np.int64)
    for level in range(8):
        bits = (classes >> (3 * level + np.arange(3))) & 1
        colours |= bits << (7 - level)
    return colours.astype(np.uint8)


VOC = Classes(
    (
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
    ),
    voc_palette(21),
)
"""Those of PASCAL VOC, which the released EMANet tells apart."""

_STREETS = {
    "road": 0x804080,
    "sidewalk": 0xF423E8,
    "building": 0x464646,
    "wall": 0x66669C,
    "fence": 0xBE9999,
    "pole": 0x999999,
    "traffic light": 0xFAAA1E,
    "traffic sign": 0xDCDC00,
    "vegetation": 0x6B8E23,
    "terrain": 0x98FB98,
    "sky": 0x4682B4,
    "person": 0xDC143C,
    "rider": 0xFF0000,
    "car": 0x00008E,
    "truck": 0x000046,
    "bus": 0x003C64,
    "train": 0x005064,
    "motorcycle": 0x0000E6,
    "bicycle": 0x770B20,
}
CITYSCAPES = Classes(
    tuple(_STREETS),
    np.array([list(c.to_bytes(3)) for c in _STREETS.values()], np.uint8),
)
"""Those of Cityscapes, which OpenMMLab's EMANet tells apart."""
