"""Pictures from outside, as the bytes of RGB images, or an error with its mend."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_images(images: Any, channels: int = 3) -> tuple[list[NDArray[np.uint8]], bool]:
    """Pictures as uint8 (H, W, channels) each, and whether it was a single one.

    Args:
        images: (H, W, C), (B, H, W, C), or a sequence of (H, W, C); for each of these
            see `as_pixels`.
        channels: C.

    Raises:
        ValueError: see `as_pixels`; or there is none.

    Example:
        >>> found, single = as_images(np.zeros((2, 5, 7, 3), np.uint8))
        >>> len(found), found[0].shape, single
        (2, (5, 7, 3), False)
    """
    if not isinstance(images, Sequence):
        array = np.asarray(_of_pillow(images, channels))
        if array.ndim != 4:
            return [as_pixels(array, "the image", channels)], True
        images = list(array)
    if not len(images):
        raise ValueError("images is empty; give at least one image")
    named = ((x, f"images[{index}]") for index, x in enumerate(images))
    return [as_pixels(x, name, channels) for x, name in named], False


def as_pixels(image: Any, name: str, channels: int = 3) -> NDArray[np.uint8]:
    """Bytes (H, W, channels) of a picture of any numeric type, from 0 to 255.

    Args:
        image: what `np.asarray` takes, whose fractions are rounded; or an image of
            Pillow's with up to 8 bits a channel, as it lies: its EXIF flag is not read.
        name: of the picture, in errors.
        channels: that it must have; 3 are RGB.

    Raises:
        ValueError: another shape or type, NaN, or values that are no RGB.

    Example:
        >>> as_pixels([[[0, 127.6, 255]]], "the image")
        array([[[  0, 128, 255]]], dtype=uint8)
    """
    array = np.asarray(_of_pillow(image, channels))
    _check_shape(array, name, channels)
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind not in "iuf" and array.dtype.name != "bfloat16":
        raise ValueError(f"{name} has type {array.dtype}; give uint8, from 0 to 255")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity; give RGB from 0 to 255")
    low, high = array.min(), array.max()
    if low < 0 or high > 255:
        raise ValueError(
            f"{name} holds values from {low:g} to {high:g}; give RGB from 0 to 255, "
            "not normalised"
        )
    if 0 < high <= 1 and np.asarray(image).dtype.kind not in "iu":
        raise ValueError(
            f"{name} holds values from {low:g} to {high:g}, which is black; give RGB "
            "from 0 to 255: multiply it by 255"
        )
    return np.round(array).astype(np.uint8)


_MODES = (
    *("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa"),
    *("CMYK", "YCbCr", "HSV", "LAB"),
)
"""Of images of Pillow that can become RGB without a choice of black and white."""


def _of_pillow(image: Any, channels: int) -> Any:
    """An image of Pillow's in these channels; its own array may be palette numbers.

    Grey is tripled, alpha dropped, and colours become grey. All else stays as it is.
    """
    mode = getattr(image, "mode", None)
    if not isinstance(mode, str) or mode not in _MODES or channels not in (1, 3):
        return image
    if not hasattr(image, "convert"):
        return image
    if "transparency" in image.info:  # of which Pillow warns otherwise
        image = image.convert("RGBA")
    image = image.convert("RGB")
    pixels = np.asarray(image if channels == 3 else image.convert("L"))
    return pixels.reshape(*pixels.shape[:2], channels)


def _check_shape(array: np.ndarray, name: str, channels: int) -> None:
    """Raise a ValueError that says how to make (H, W, channels) of it."""
    shape = array.shape
    if array.ndim == 3 and shape[-1] == channels and 0 not in shape:
        return
    mend = f"give (H, W, {channels})"
    if 0 in shape:
        mend = "give at least one pixel"
    elif channels != 3:
        pass
    elif array.ndim == 2:
        mend = "it is grey: give (H, W, 3), as np.stack([image] * 3, axis=-1)"
    elif array.ndim == 3 and shape[-1] == 4:
        mend = "drop its fourth channel, as image[..., :3]"
    elif array.ndim == 3 and shape[0] in (3, 4):
        mend = "its channels come first: give (H, W, 3), as image.transpose(1, 2, 0)"
    raise ValueError(f"{name} has shape {shape}; {mend}")
