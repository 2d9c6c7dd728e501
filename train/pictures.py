"""Index masks as pictures."""

from collections.abc import Sequence

import numpy as np

from train.data.canvas import place
from train.losses import IGNORE_LABEL

IGNORE_COLOR = (224, 224, 192)  # the border of PASCAL VOC's masks
GAP = 4


def colorize(labels: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Index mask (H, W) to colours (H, W, 3) of a palette (num_classes, 3)."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = palette
    table[IGNORE_LABEL] = IGNORE_COLOR
    return table[labels]


def overlay(image: np.ndarray, colors: np.ndarray, opacity: float = 0.5) -> np.ndarray:
    """The image with the coloured mask over it, uint8."""
    mixed = (1 - opacity) * image + opacity * colors.astype(np.float32)
    return np.round(mixed).astype(np.uint8)


def panel(rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Pictures of many sizes in a grid on white, one row of pictures a line."""
    height = max(picture.shape[0] for row in rows for picture in row)
    width = max(picture.shape[1] for row in rows for picture in row)
    cell = (height + GAP, width + GAP)
    lines = [np.hstack([place(picture, cell, 255) for picture in row]) for row in rows]
    return np.vstack(lines)
