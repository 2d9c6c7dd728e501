"""Small real files: photographs and masks as annotation tools write them."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

Write = Callable[..., Path]


def _photo(path: Path, size: tuple[int, int] = (20, 30), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), cv2.GaussianBlur(noise, (0, 0), 3))
    return path


def _palette_mask(path: Path, indices: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(indices.astype(np.uint8))
    image.putpalette(np.arange(768, dtype=np.uint8)[::-1].tobytes())
    assert image.mode == "P"
    image.save(path)
    return path


@pytest.fixture
def write_photo() -> Write:
    """(path, size=(20, 30), seed=0) -> path of an image in the suffix's format."""
    return _photo


@pytest.fixture
def write_mask() -> Write:
    """(path, indices) -> path of a palette PNG."""
    return _palette_mask


@pytest.fixture
def indices() -> np.ndarray:
    """A mask (20, 30) of classes 0, 1, 2 with a 255 border around class 1."""
    mask = np.zeros((20, 30), np.uint8)
    mask[3:12, 4:15] = 255
    mask[5:10, 6:13] = 1
    mask[15:, 20:] = 2
    return mask
