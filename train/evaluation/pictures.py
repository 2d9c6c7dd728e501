"""Index masks as pictures."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ema_jax.canvas import place
from train.data.access import IGNORE_LABEL
from train.user.folders import writing

IGNORE_COLOR = (224, 224, 192)  # the border of PASCAL VOC's masks
GAP = 4
WHITE = np.full((1, 1, 3), 255, np.uint8)


def colorize(labels: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Index mask (H, W) to colours (H, W, 3) of a palette (num_classes, 3)."""
    return color_table(palette)[labels]


def color_table(palette: np.ndarray) -> np.ndarray:
    """The colour of every byte (256, 3): of a class, of ignored pixels, else black."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = palette
    table[IGNORE_LABEL] = IGNORE_COLOR
    return table


def as_rgb(image: np.ndarray) -> np.ndarray:
    """The first three channels of an image (H, W, C); of one or two the first, grey."""
    channels = image[..., :3] if image.shape[-1] > 2 else image[..., :1]
    return np.broadcast_to(channels, (*image.shape[:2], 3))


def overlay(image: np.ndarray, colors: np.ndarray, opacity: float = 0.5) -> np.ndarray:
    """The image with the coloured mask over it, uint8."""
    mixed = (1 - opacity) * as_rgb(image) + opacity * colors.astype(np.float32)
    return np.round(mixed).astype(np.uint8)


def panel(rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Pictures of many sizes in a grid on white, one row of pictures a line."""
    rows = [[as_rgb(picture) for picture in row] for row in rows]
    height = max(picture.shape[0] for row in rows for picture in row)
    width = max(picture.shape[1] for row in rows for picture in row)
    cell = (height + GAP, width + GAP)
    lines = [np.hstack([place(picture, cell, 255) for picture in row]) for row in rows]
    return np.vstack(lines)


def bases_panel(image: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """The image, and below it a line for each basis: its map after each iteration.

    Args:
        image: uint8 (H, W, C).
        maps: responsibilities (T, H, W, K); the largest of a line is yellow, zero blue.
    """
    lines = [[image]]
    for basis in np.moveaxis(maps, -1, 0):
        lines.append([heat(picture, basis.max()) for picture in basis])
    return panel([line + [WHITE] * (len(maps) - len(line)) for line in lines])


def heat(values: np.ndarray, most: float = 1.0) -> np.ndarray:
    """Values (H, W) as colours (H, W, 3): `most` is yellow, zero blue (viridis)."""
    grey = np.round(values / max(most, 1e-12) * 255).astype(np.uint8)
    return cv2.applyColorMap(grey, cv2.COLORMAP_VIRIDIS)[..., ::-1]


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write a PNG, and the folders above it; a UserError where that fails."""
    with writing("output", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
