"""Images as cameras and instruments write them, with 8 bits a channel.

What OpenCV reads to the same three channels is kept as it lies there. All else is
decoded and written as PNG: more than 8 bits, scaled; what Pillow alone reads, HEIC by
its plugin; other numbers of channels.
"""

import contextlib
import importlib
import io
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageOps

from train.data.channels import (
    TIFF,
    check_colors,
    decode_channels,
    grey,
    pack,
    unpack,
)
from train.data.images import decode_image, read_bytes
from train.user.errors import UserError

log = logging.getLogger("ema_jax")

Range = tuple[float, float]
"""The values of black and white."""

DEPTHS = (8, 10, 12, 14, 16)
"""Bits of which cameras and instruments have pixels."""
DEEP = (".png", ".tif", ".tiff", ".ppm", ".pgm", ".jp2")
"""Suffixes of files that may hold more than 8 bits."""


class Photograph(NamedTuple):
    """An image, upright.

    Attributes:
      pixels: uint8 (H, W, C), RGB if there are three.
      data: the file that OpenCV decodes to these three; None where it does not.
      source: what it was then; else "".
    """

    pixels: NDArray[np.uint8]
    data: bytes | None
    source: str = ""

    def encoded(self) -> bytes:
        """What `decode_record` decodes to the pixels."""
        if self.data is not None:
            return self.data
        if self.pixels.shape[-1] != 3:
            return pack(self.pixels)
        _, png = cv2.imencode(".png", self.pixels[..., ::-1])
        return png.tobytes()


def decode_record(data: bytes, channels: int) -> NDArray[np.uint8]:
    """The pixels (H, W, channels) of `Photograph.encoded`."""
    return decode_image(data) if channels == 3 else unpack(data, channels)


def read_photograph(
    path: Path,
    value_range: Callable[[], Range] | None = None,
    mend: str = "",
    channels: int = 3,
) -> Photograph:
    """The photograph in a file.

    Args:
      path: of it.
      value_range: gives what is black and white where there are more than 8 bits; None:
        such are refused.
      mend: end of the message about one that cannot be read.
      channels: that it is to have: three, where grey is tripled and alpha dropped; one,
        where colours become grey; any other number, if the file has as many.

    Raises:
      UserError: it cannot be read.
    """
    data = read_bytes(path, mend)
    try:
        pixels, kept = decode_any(path.suffix.lower(), data, channels)
    except ValueError as error:
        raise UserError(
            f"{path}: cannot be read as an image ({error}){mend}"
        ) from error
    if kept:
        return Photograph(pixels.astype(np.uint8), data)
    several = "" if channels == 3 else f", {channels} channels"
    if pixels.dtype == np.uint8:
        source = f"of a format that PNG keeps{several}"
        return Photograph(pixels.astype(np.uint8), None, source)
    if value_range is None:
        raise UserError(
            f"{path}: holds {pixels.dtype} values; write it with 8 bits a channel"
        )
    low, high = value_range()
    source = f"{pixels.dtype}, {low:g} to {high:g} as 8 bits{several}"
    if channels == 3:
        pixels = as_three(pixels)
    return Photograph(to_bytes(pixels, low, high), None, source)


def to_bytes(image: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    """Values from `low`, which is 0 then, to `high`, which is 255.

    Example:
        >>> to_bytes(np.array([0, 2048, 4095, 5000], np.uint16), 0, 4095)
        array([  0, 128, 255, 255], dtype=uint8)
    """
    scaled = (image.astype(np.float64) - low) / max(high - low, 1e-12)
    return np.rint(255 * np.nan_to_num(scaled.clip(0, 1))).astype(np.uint8)


def as_three(image: NDArray[np.generic]) -> NDArray[np.generic]:
    """(H, W, 3) of one, two, three or four channels: grey is tripled, alpha dropped."""
    channels = image.reshape(*image.shape[:2], -1)
    channels = channels[..., :3] if channels.shape[-1] > 2 else channels[..., :1]
    return np.broadcast_to(channels, (*image.shape[:2], 3))


class ValueRange:
    """What is black and white in images of more than 8 bits, known when first needed.

    Attributes:
      paths: of the images.
      channels: of them.
      known: what is stated, or was measured; None: neither, yet.
    """

    def __init__(
        self, paths: Sequence[Path], channels: int = 3, stated: Range | None = None
    ) -> None:
        self.paths, self.channels, self.known = paths, channels, stated

    def __call__(self) -> Range:
        """Stated, or else measured; see `measured_range`."""
        if self.known is None:
            self.known = measured_range(self.paths, self.channels)
        return self.known


def measured_range(paths: Iterable[Path], channels: int = 3) -> Range:
    """What is black and white in files of which some have more than 8 bits.

    For whole numbers from 0 on, the least depth of `DEPTHS` that holds them all; for
    fractions up to 1, that; else the least and the largest value.
    """
    lows, highs, kinds = [], [], set()
    for path in paths:
        if path.suffix.lower() not in DEEP:
            continue
        with contextlib.suppress(ValueError):
            deep, _ = decode_any(path.suffix.lower(), read_bytes(path), channels)
            if deep.dtype != np.uint8:
                lows.append(float(np.nanmin(deep)))
                highs.append(float(np.nanmax(deep)))
                kinds.add(deep.dtype)
    low, high = min(lows), max(highs)
    whole = all(np.issubdtype(kind, np.integer) for kind in kinds)
    chosen = likely_range(low, high, whole)
    if len(kinds) > 1:
        log.warning(
            "the images are of %s, for which one range of values can hardly be right; "
            "convert them to one type",
            " and ".join(sorted(map(str, kinds))),
        )
    log.info(
        "images of more than 8 bits hold %g to %g: black is %g and white %g; if that "
        "is wrong, set config.data.value_range",
        *(low, high, *chosen),
    )
    return chosen


def likely_range(low: float, high: float, whole: bool) -> Range:
    """What is black and white where values, whole ones or fractions, go that far.

    Example:
        >>> likely_range(12, 3900, whole=True), likely_range(0.1, 0.9, whole=False)
        ((0.0, 4095.0), (0.0, 1.0))
    """
    depths = [2**bits - 1 for bits in DEPTHS if high < 2**bits]
    if whole and low >= 0 and depths:
        return 0.0, float(depths[0])
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)


def stated_size(data: bytes, suffix: str) -> tuple[int, int]:
    """Height and width that a file says it has; its pixels are not decoded.

    Raises:
      ValueError: it is no image.
    """
    try:
        if suffix in TIFF:  # Pillow does not know all of them
            with tifffile.TiffFile(io.BytesIO(data)) as pages:
                first = pages.pages.first
                return first.imagelength, first.imagewidth
        with _open(data, suffix) as image:
            return image.height, image.width
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError("it has too many pixels; make it smaller") from error
    except NoPluginError:
        raise
    except Exception as error:  # Pillow's decoders raise many types
        raise ValueError("no image, or a damaged one") from error


def decode_any(
    suffix: str, data: bytes, channels: int = 3
) -> tuple[NDArray[np.generic], bool]:
    """Upright pixels, and whether OpenCV decodes them so, with three channels.

    Of three channels (H, W, 3) RGB if they have 8 bits, else as they lie in the file;
    of any other number (H, W, channels).

    Raises:
      ValueError: it is no whole image, or has other channels.
    """
    if channels == 1:
        return grey(decode_any(suffix, data)[0]), False
    if channels != 3:
        return decode_channels(suffix, data, channels), False
    if suffix in TIFF:
        check_colors(data)
    image = _opencv(data) if suffix in DEEP and data else None
    if image is not None and image.dtype != np.uint8:
        return image, False
    if image is not None:
        return (np.dstack(3 * [image]) if image.ndim == 2 else image), True
    try:
        return decode_image(data), True
    except ValueError:
        if not data:
            raise
        return _pillow(data, suffix), False


def _opencv(data: bytes) -> NDArray[np.generic] | None:
    """Grey (H, W) or RGB (H, W, 3), of as many bits as there are."""
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # it has too many pixels
        return None
    return image if image is None or image.ndim == 2 else image[..., ::-1]


def _pillow(data: bytes, suffix: str) -> NDArray[np.generic]:
    """What OpenCV cannot read: 32 bits, CMYK, HEIC."""
    try:
        with _open(data, suffix) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode in ("I", "F", "I;16", "I;16B"):
                return np.asarray(upright)
            return np.asarray(upright.convert("RGB"))
    except NoPluginError:
        raise
    except Exception as error:  # Pillow's decoders raise many types
        raise ValueError("no image, or a damaged one") from error


class NoPluginError(ValueError):
    """The file needs a package that is not installed."""


def _open(data: bytes, suffix: str) -> Image.Image:
    """Pillow's image, of which the header alone is read."""
    if suffix in (".heic", ".heif"):
        try:
            importlib.import_module("pillow_heif").register_heif_opener()
        except ImportError as error:
            raise NoPluginError(
                "HEIC needs a plugin: pip install pillow-heif"
            ) from error
    return Image.open(io.BytesIO(data))
