"""From the bytes of a file to an image that a network is shown, within bounds."""

from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from train.data.images import shrink
from train.data.photographs import (
    Range,
    as_three,
    decode_any,
    likely_range,
    stated_size,
    to_bytes,
)
from train.user.errors import UserError

MAX_BYTES = 32 * 2**20
"""Of a file."""
MAX_PIXELS = 60_000_000
"""Of an image, as its file states them: a camera's."""


@dataclass(frozen=True, eq=False)
class Photo:
    """An image as the network is shown it.

    Attributes:
        name: of its file, without folders and suffix.
        pixels: uint8 (H, W, C).
        original: its height and width in the file.
    """

    name: str
    pixels: NDArray[np.uint8]
    original: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width as it is shown."""
        return self.pixels.shape[0], self.pixels.shape[1]


def read_photo(
    name: str,
    data: bytes,
    max_side: int,
    channels: int = 3,
    value_range: Range | None = None,
) -> Photo:
    """The image in the bytes of a file.

    Args:
        name: of the file.
        data: of it, up to `MAX_BYTES`.
        max_side: longer images are shrunk to it.
        channels: that the network takes.
        value_range: black and white of more than 8 bits; None: what is likely.

    Raises:
        UserError: no image, or one that is too large; names the file.
    """
    path = PurePath(name.replace("\\", "/"))
    suffix = path.suffix.lower()
    try:
        if not data:
            raise ValueError("the file is empty")
        if len(data) > MAX_BYTES:
            raise ValueError(too_many_bytes())
        height, width = stated_size(data, suffix)
        if height * width > MAX_PIXELS:
            raise ValueError(
                f"{width} × {height} are more than {MAX_PIXELS // 10**6} megapixels; "
                "make it smaller"
            )
        pixels, _ = decode_any(suffix, data, channels)
    except ValueError as error:
        raise UserError(f"{path.name}: cannot be shown: {error}") from error
    original = pixels.shape[0], pixels.shape[1]
    shown = shrink(as_eight_bits(pixels, channels, value_range), max_side)
    return Photo(path.stem, shown, original)


def too_many_bytes() -> str:
    """What is said of a file beyond the bound."""
    return f"it has more than {MAX_BYTES // 2**20} MiB; make it smaller"


def as_eight_bits(
    pixels: NDArray[np.generic], channels: int, value_range: Range | None
) -> NDArray[np.uint8]:
    """Pixels (H, W) or (H, W, C) of any depth as uint8 (H, W, C)."""
    if pixels.dtype != np.uint8:
        low, high = float(np.nanmin(pixels)), float(np.nanmax(pixels))
        whole = np.issubdtype(pixels.dtype, np.integer)
        pixels = to_bytes(pixels, *(value_range or likely_range(low, high, whole)))
    if channels == 3:
        pixels = as_three(pixels)
    return np.ascontiguousarray(pixels, np.uint8)
