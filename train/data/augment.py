"""Random scale, padding, crop and flip of an image and its labels.

`draw_…` draws what is random, and `cut` does it, only where the crop lies. Images stay
uint8 and padding is only marked: it must be 0 after normalisation, which happens later.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from train.data.access import IGNORE_LABEL

Byte = NDArray[np.uint8]
Bool = NDArray[np.bool_]
Size = tuple[int, int]  # height, width
Window = tuple[range, range]  # rows, and columns, which go backwards in a mirror image


def augment(
    image: Byte,
    label: Byte,
    rng: np.random.Generator,
    *,
    scales: Sequence[float],
    crop_size: Size,
    flip: bool,
    canvas: Size | None = None,
) -> tuple[Byte, Byte, Bool]:
    """Scale, pad at the bottom and right, crop, flip; in this order.

    Args:
      image, label, crop_size, canvas: see `cut`.
      rng: makes every draw.
      scales: one of them is drawn, each as likely.
      flip: whether to mirror every other image left to right.

    Returns:
      What `cut` does.
    """
    size = scaled_size(label.shape, draw_scale(rng, scales))
    padded = max(size[0], crop_size[0]), max(size[1], crop_size[1])
    corner = draw_crop(rng, padded, crop_size)
    mirrored = flip and draw_flip(rng)
    return cut(image, label, size, corner, crop_size, mirrored=mirrored, canvas=canvas)


def cut(
    image: Byte,
    label: Byte,
    size: Size,
    corner: tuple[int, int],
    crop_size: Size,
    *,
    mirrored: bool = False,
    canvas: Size | None = None,
) -> tuple[Byte, Byte, Bool]:
    """A crop of an image and its labels, scaled and padded.

    Args:
      image: uint8 (H, W, C).
      label: uint8 (H, W).
      size: to which both are scaled.
      corner: top and left of the crop, in what is scaled and padded.
      crop_size: height and width of the crop.
      mirrored: left to right.
      canvas: height and width of the results, at whose top left the crop lies; None:
        those of the crop.

    Returns:
      The image (*canvas, C), its labels (255 where padded) and the mask that is True
      on real, not padded, pixels.
    """
    (top, left), canvas = corner, canvas or crop_size
    height, width = min(size[0], crop_size[0]), min(size[1], crop_size[1])
    rows, columns = range(top, top + height), range(left, left + width)
    first = 0
    if mirrored:
        columns, first = columns[::-1], crop_size[1] - width
    seen = slice(height), slice(first, first + width)
    pixels = np.zeros((*canvas, image.shape[-1]), np.uint8)
    pixels[seen] = resize_image(image, size, (rows, columns))
    classes = np.full(canvas, IGNORE_LABEL, np.uint8)
    classes[seen] = resize_label(label, size, (rows, columns))
    mask = np.zeros(canvas, bool)
    mask[seen] = True
    return pixels, classes, mask


def draw_scale(rng: np.random.Generator, scales: Sequence[float]) -> float:
    """One of `scales`, uniformly."""
    return float(scales[int(rng.integers(len(scales)))])


def draw_crop(
    rng: np.random.Generator, shape: tuple[int, ...], size: Size
) -> tuple[int, int]:
    """Top and left of a window of `size` within `shape`, every place as likely."""
    top = int(rng.integers(shape[0] - size[0] + 1))
    left = int(rng.integers(shape[1] - size[1] + 1))
    return top, left


def draw_flip(rng: np.random.Generator) -> bool:
    """True half of the time."""
    return bool(rng.integers(2))


def scaled_size(shape: Size, factor: float) -> Size:
    """`⌊factor · shape⌋`, at least 1 pixel."""
    height, width = shape
    return max(1, int(height * factor)), max(1, int(width * factor))


def resize_image(image: Byte, size: Size, window: Window | None = None) -> Byte:
    """Bilinear with aligned corners: source = i · (h − 1) / (H − 1).

    With a window, so much of the result, and no more is computed.
    """
    rows, columns = window or (range(size[0]), range(size[1]))
    if image.shape[:2] == tuple(size):
        return _pick(image, rows, columns)
    if image.shape[-1] == 3:  # with a fourth channel it takes half as long
        four = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2RGBA), np.uint8)
        warped = _warp(four, size, rows, columns)
        return np.asarray(cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB), np.uint8)
    if image.shape[-1] > 1:
        planes = np.moveaxis(image, -1, 0)[..., None]
        return np.dstack([resize_image(plane, size, window) for plane in planes])
    return _warp(image, size, rows, columns).reshape(len(rows), len(columns), 1)


def _warp(image: Byte, size: Size, rows: range, columns: range) -> Byte:
    step_y = (image.shape[0] - 1) / max(1, size[0] - 1)
    step_x = (image.shape[1] - 1) / max(1, size[1] - 1)
    to_source = [
        [step_x * columns.step, 0, step_x * columns.start],
        [0, step_y, step_y * rows.start],
    ]
    warped = cv2.warpAffine(
        image,
        np.array(to_source),
        (len(columns), len(rows)),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(warped, np.uint8)


def resize_label(label: Byte, size: Size, window: Window | None = None) -> Byte:
    """Nearest by floor: source = ⌊i · h / H⌋; for the window see `resize_image`."""
    rows, columns = window or (range(size[0]), range(size[1]))
    if label.shape == tuple(size):
        return _pick(label, rows, columns)
    from_rows = np.arange(rows.start, rows.stop) * label.shape[0] // size[0]
    from_columns = (
        np.arange(columns.start, columns.stop, columns.step) * label.shape[1] // size[1]
    )
    return label[from_rows][:, from_columns]


def _pick(array: Byte, rows: range, columns: range) -> Byte:
    """Those rows and columns of (H, W, …)."""
    if columns.step > 0:
        return array[rows.start : rows.stop, columns.start : columns.stop]
    part = array[rows.start : rows.stop, columns.stop + 1 : columns.start + 1]
    if array.shape[2:] > (32,):  # OpenCV has 128 at most, and is slow with many
        return part[:, ::-1]
    return np.asarray(cv2.flip(part, 1), np.uint8).reshape(part.shape)
