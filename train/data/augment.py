"""Random scale, padding, crop and flip of an image and its labels.

Each operation is a function of explicit draws; `draw_…` makes them. Images stay uint8
and padding is only marked: it must be 0 after normalisation, which happens later.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from train.data.access import IGNORE_LABEL

Byte = NDArray[np.uint8]
Bool = NDArray[np.bool_]
Size = tuple[int, int]  # height, width


def augment(
    image: Byte,
    label: Byte,
    rng: np.random.Generator,
    *,
    scales: Sequence[float],
    crop_size: Size,
    flip: bool,
) -> tuple[Byte, Byte, Bool]:
    """Scale, pad at the bottom and right, crop, flip; in this order.

    Args:
      image: uint8 (H, W, C).
      label: uint8 (H, W).
      rng: makes every draw.
      scales: one of them is drawn, each as likely.
      crop_size: height and width of the result.
      flip: whether to mirror every other image left to right.

    Returns:
      The image (*crop_size, C), its labels (255 where padded) and the mask that is True
      on real, not padded, pixels.
    """
    image, label = scale(image, label, draw_scale(rng, scales))
    image, label, mask = pad(image, label, crop_size)
    top, left = draw_crop(rng, label.shape, crop_size)
    image, label, mask = crop(image, label, mask, top, left, crop_size)
    if flip and draw_flip(rng):
        image, label, mask = mirror(image, label, mask)
    return image, label, mask


def draw_scale(rng: np.random.Generator, scales: Sequence[float]) -> float:
    """One of `scales`, uniformly."""
    return float(scales[int(rng.integers(len(scales)))])


def scale(image: Byte, label: Byte, factor: float) -> tuple[Byte, Byte]:
    """Both resized to ⌊factor · size⌋, at least 1 pixel."""
    height, width = label.shape
    size = max(1, int(height * factor)), max(1, int(width * factor))
    return resize_image(image, size), resize_label(label, size)


def resize_image(image: Byte, size: Size) -> Byte:
    """Bilinear with aligned corners: source = i · (h − 1) / (H − 1)."""
    if image.shape[:2] == tuple(size):
        return image
    if image.shape[-1] not in (1, 3):
        planes = np.moveaxis(image, -1, 0)[..., None]
        return np.dstack([resize_image(plane, size) for plane in planes])
    (height, width), (rows, columns) = image.shape[:2], size
    step_y = (height - 1) / max(1, rows - 1)
    step_x = (width - 1) / max(1, columns - 1)
    to_source = np.array([[step_x, 0, 0], [0, step_y, 0]], np.float64)
    resized = cv2.warpAffine(
        image,
        to_source,
        (columns, rows),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(resized, np.uint8).reshape(*size, -1)


def resize_label(label: Byte, size: Size) -> Byte:
    """Nearest by floor: source = ⌊i · h / H⌋."""
    if label.shape == tuple(size):
        return label
    rows = np.arange(size[0]) * label.shape[0] // size[0]
    columns = np.arange(size[1]) * label.shape[1] // size[1]
    return label[rows][:, columns]


def pad(image: Byte, label: Byte, size: Size) -> tuple[Byte, Byte, Bool]:
    """At the bottom and right up to at least `size`; also the mask of real pixels."""
    height, width = label.shape
    below, beside = max(0, size[0] - height), max(0, size[1] - width)
    margin = ((0, below), (0, beside))
    mask = np.ones((height, width), bool)
    if not below and not beside:
        return image, label, mask
    return (
        np.pad(image, (*margin, (0, 0))),
        np.pad(label, margin, constant_values=IGNORE_LABEL),
        np.pad(mask, margin),
    )


def draw_crop(
    rng: np.random.Generator, shape: tuple[int, ...], size: Size
) -> tuple[int, int]:
    """Top and left of a window of `size` within `shape`, every place as likely."""
    top = int(rng.integers(shape[0] - size[0] + 1))
    left = int(rng.integers(shape[1] - size[1] + 1))
    return top, left


def crop(
    image: Byte, label: Byte, mask: Bool, top: int, left: int, size: Size
) -> tuple[Byte, Byte, Bool]:
    """The window of `size` at (top, left), as copies that own their memory."""
    window = slice(top, top + size[0]), slice(left, left + size[1])
    return image[window].copy(), label[window].copy(), mask[window].copy()


def draw_flip(rng: np.random.Generator) -> bool:
    """True half of the time."""
    return bool(rng.integers(2))


def mirror(image: Byte, label: Byte, mask: Bool) -> tuple[Byte, Byte, Bool]:
    """Left to right."""
    return (
        np.ascontiguousarray(image[:, ::-1]),
        np.ascontiguousarray(label[:, ::-1]),
        np.ascontiguousarray(mask[:, ::-1]),
    )
