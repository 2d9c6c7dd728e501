"""Image bytes to RGB arrays."""

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from train.user.errors import UserError

# What a damaged file is told by is its own message.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".gif", ".jp2", ".avif", ".heic", ".heif"),
)
"""What is read, and people keep photographs in; of several frames the first."""


def below(folder: Path) -> Iterator[Path]:
    """A folder and all in it, sorted; linked ones are followed, each once.

    Hidden folders are passed over.

    Raises:
      UserError: one cannot be read.
    """
    seen = set()
    for parent, folders, _ in os.walk(folder, followlinks=True, onerror=_refuse):
        here = os.path.realpath(parent)
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        if here in seen:
            folders.clear()
            continue
        seen.add(here)
        yield Path(parent)


def _refuse(error: OSError) -> None:
    if isinstance(error, FileNotFoundError):  # no folder holds nothing
        return
    raise UserError(
        f"{error.filename}: cannot be read ({error.strerror}); make it readable, or "
        "move it elsewhere"
    ) from error


def image_files(folder: Path) -> Iterator[Path]:
    """Every image below a folder, sorted.

    Hidden files are passed over: thumbnails, the forks of macOS.
    """
    for here in below(folder):
        for path in sorted(here.iterdir()):
            hidden = path.name.startswith(".")
            if path.suffix.lower() in SUFFIXES and not hidden and path.is_file():
                yield path


def read_bytes(path: Path, mend: str = "") -> bytes:
    """A file; a UserError where it cannot be opened."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror}){mend}") from error


def decode_image(data: bytes) -> NDArray[np.uint8]:
    """RGB uint8 (H, W, 3); grey is tripled, alpha dropped, EXIF rotation applied.

    Raises:
      ValueError: the bytes are no whole image.
    """
    if not data:
        raise ValueError("the file is empty")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise ValueError("it has too many pixels; cut it into pieces") from error
    if image is None:
        raise ValueError("no image, or a damaged one")
    return np.asarray(image, np.uint8)


def shrink(image: NDArray[np.uint8], max_side: int) -> NDArray[np.uint8]:
    """An image (H, W, C) whose longer side is `max_side` at most, by mean over areas.

    Example:
        >>> shrink(np.zeros((300, 200, 3), np.uint8), 150).shape
        (150, 100, 3)
    """
    height, width = image.shape[:2]
    factor = max_side / max(height, width)
    if factor >= 1:
        return image
    size = max(round(width * factor), 1), max(round(height * factor), 1)
    smaller = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(smaller, np.uint8).reshape(size[1], size[0], -1)
