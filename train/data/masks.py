"""Index masks: one class number per pixel, as a uint8 array (H, W).

A palette PNG (VOC, SBD and many annotation tools) stores indices and a colour table.
OpenCV decodes it to the colours without a word, so masks from outside are read with
Pillow, and records hold them as mode-L PNG, which every decoder returns as stored.
"""

import io
from os import PathLike

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from train.user.errors import UserError

Mask = NDArray[np.uint8]
FAST = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 3),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE),
)
"""Smaller than by OpenCV's default, and decoded three times as fast."""


def read_mask(source: str | PathLike[str] | bytes) -> Mask:
    """Class indices of a mask file, whether palette or greyscale.

    Args:
      source: a path, or the file's bytes.

    Returns:
      uint8 (H, W).

    Raises:
      UserError: the file is no image, or one that cannot hold 8-bit class indices.
    """
    place = "the mask" if isinstance(source, bytes) else str(source)
    try:
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        with Image.open(file) as image:
            _check_kind(image, place)
            # As the image beside it, which is turned when it is decoded.
            return np.asarray(ImageOps.exif_transpose(image)).astype(np.uint8)
    except UserError:
        raise
    except Exception as error:  # Pillow's decoders raise many types on damaged files
        raise UserError(
            f"{place}: cannot be read as a mask ({error}); "
            "replace it with a palette or 8-bit greyscale PNG"
        ) from error


def _check_kind(image: Image.Image, place: str) -> None:
    if image.format == "JPEG":
        raise UserError(
            f"{place}: is a JPEG, whose compression alters class indices; "
            "export the mask as PNG"
        )
    if image.mode not in ("P", "L", "1"):
        raise UserError(
            f"{place}: has mode {image.mode}, not class indices; convert it to a "
            "palette or 8-bit greyscale PNG that stores one class number per pixel"
        )


def encode_mask(mask: Mask) -> bytes:
    """PNG bytes (mode L) of a uint8 (H, W) mask."""
    if mask.dtype != np.uint8 or mask.ndim != 2:
        raise ValueError(f"expected uint8 (H, W), got {mask.dtype} {mask.shape}")
    _, png = cv2.imencode(".png", mask, FAST)
    return png.tobytes()


def decode_mask(png: bytes) -> Mask:
    """uint8 (H, W) of what `encode_mask` wrote; ValueError for anything else."""
    mask = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if mask is None:
        raise ValueError("the label is not a readable image")
    if mask.ndim != 2 or mask.dtype != np.uint8:
        raise ValueError(f"the label is {mask.dtype} {mask.shape}, not uint8 (H, W)")
    return np.asarray(mask, np.uint8)
