"""Images of other than three channels: of one, of four, of as many as a sensor has."""

import io

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

TIFF = (".tif", ".tiff")
ORIENTATION = "Orientation"
ALPHA = (1, 2)  # of TIFF's ExtraSamples, associated or not
GREY = np.array([0.299, 0.587, 0.114])


def grey(image: NDArray[np.generic]) -> NDArray[np.generic]:
    """(H, W, 1): an image of one channel as it is, of three or four the luminance.

    Example:
        >>> grey(np.full((1, 1, 3), 200, np.uint8))[0, 0]
        array([200], dtype=uint8)
    """
    if image.ndim == 2:
        return image[..., None]
    if image.shape[-1] < 3:
        return image[..., :1]
    mixed = image[..., :3].astype(np.float64) @ GREY
    whole = np.issubdtype(image.dtype, np.integer)
    return (np.rint(mixed) if whole else mixed).astype(image.dtype)[..., None]


def decode_channels(suffix: str, data: bytes, channels: int) -> NDArray[np.generic]:
    """Pixels (H, W, channels) of a file that has as many, of its own type.

    In a TIFF they may lie within a pixel, one plane after the other, or on a page each.

    Raises:
      ValueError: it has another number of channels, or is damaged.
    """
    if suffix in TIFF:
        image = _tiff(data)
    elif not data:
        raise ValueError("the file is empty")
    else:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if found is None:
            raise ValueError("no image, or a damaged one")
        image = found if found.ndim == 2 else _rgb_first(found)
    if image.ndim == 3 and image.shape[-1] == channels:
        return image
    if image.ndim == 3 and image.shape[0] == channels and suffix in TIFF:
        return np.moveaxis(image, 0, -1)
    raise ValueError(
        f"has shape {image.shape}, and config.model.in_channels is {channels}"
    )


def _rgb_first(image: NDArray[np.generic]) -> NDArray[np.generic]:
    """OpenCV's order of three or four channels turned."""
    return image[..., [2, 1, 0, *range(3, image.shape[-1])]]


def check_colors(data: bytes) -> None:
    """Raise a ValueError if a TIFF has channels that are neither colours nor alpha.

    They would be left out without a word, or be taken for something else.
    """
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages.first
            samples = page.samplesperpixel
            extra = page.extrasamples
            colors = samples - len(extra)
    except Exception:  # tifffile has its own types; the decoder says what is wrong
        return
    if colors not in (1, 3, 4) or any(kind not in ALPHA for kind in extra):
        raise ValueError(
            f"has {samples} channels; write RGB, or set config.model.in_channels="
            f"{samples}"
        )


def _tiff(data: bytes) -> NDArray[np.generic]:
    """All channels and pages of a TIFF, in the order in which they lie."""
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            orientation = file.pages.first.tags.get(ORIENTATION)
            image = np.squeeze(file.asarray())
    except Exception as error:  # tifffile and its codecs have their own types
        raise ValueError(" ".join(str(error).split()) or "damaged") from error
    if orientation is not None and orientation.value not in (0, 1):
        raise ValueError("has an orientation flag; write it upright")
    return image


def pack(pixels: NDArray[np.uint8]) -> bytes:
    """(H, W, C) as one PNG, in grey: the channels side by side."""
    height, width, channels = pixels.shape
    sheet = np.moveaxis(pixels, -1, 1).reshape(height, channels * width)
    return cv2.imencode(".png", sheet)[1].tobytes()


def unpack(data: bytes, channels: int) -> NDArray[np.uint8]:
    """The inverse of `pack`.

    Raises:
      ValueError: the bytes are no such PNG.

    Example:
        >>> image = np.arange(10, dtype=np.uint8).reshape(1, 2, 5)
        >>> unpack(pack(image), 5)
        array([[[0, 1, 2, 3, 4],
                [5, 6, 7, 8, 9]]], dtype=uint8)
    """
    sheet = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if sheet is None or sheet.shape[1] % channels:
        raise ValueError(f"no image of {channels} channels")
    planes = np.asarray(sheet, np.uint8).reshape(len(sheet), channels, -1)
    return np.ascontiguousarray(np.moveaxis(planes, 1, -1))
