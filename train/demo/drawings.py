"""What a network says of an image, as pictures and a legend; pure functions."""

import io
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ema_jax.classes import Classes
from train.data.access import IGNORE_LABEL
from train.evaluation.pictures import as_rgb, color_table, colorize, heat, overlay

Picture = NDArray[np.uint8]
"""RGB (H, W, 3)."""

UNSURE = "below the threshold"
DIM = 0.75
"""Of what a spotlight leaves in the dark."""


@dataclass(frozen=True)
class Entry:
    """A line of the legend.

    Attributes:
        label: of its pixels in the mask.
        name: of the class.
        color: as CSS writes it.
        share: of the image's pixels.
        confidence: the mean over its pixels.
        point: (y, x) deep in its largest region, where a name can stand.
    """

    label: int
    name: str
    color: str
    share: float
    confidence: float
    point: tuple[int, int]


def sure_labels(
    mask: NDArray[np.uint8], confidence: NDArray[np.float32], threshold: float
) -> NDArray[np.uint8]:
    """The mask (H, W), 255 where its confidence is below a threshold.

    Example:
        >>> sure_labels(np.uint8([[1, 2]]), np.float32([[0.4, 0.9]]), 0.5)
        array([[255,   2]], dtype=uint8)
    """
    return np.where(confidence < threshold, np.uint8(IGNORE_LABEL), mask)


def legend(
    labels: NDArray[np.uint8], confidence: NDArray[np.float32], classes: Classes
) -> list[Entry]:
    """The classes in labels (H, W), the largest first, and last what is unsure."""
    table = color_table(classes.palette)
    counts = np.bincount(labels.ravel(), minlength=256)
    sums = np.bincount(labels.ravel(), weights=confidence.ravel(), minlength=256)
    order = sorted(
        np.flatnonzero(counts).tolist(),
        key=lambda label: (label == IGNORE_LABEL, -counts[label]),
    )
    return [
        Entry(
            label,
            class_name(label, classes),
            "#{:02x}{:02x}{:02x}".format(*table[label]),
            counts[label] / labels.size,
            sums[label] / counts[label],
            inner_point(labels == label),
        )
        for label in order
    ]


def class_name(label: int, classes: Classes) -> str:
    """Its name, or its number where nobody knows the names."""
    if label == IGNORE_LABEL:
        return UNSURE
    return classes.names[label] if classes.names else f"class {label}"


def inner_point(region: NDArray[np.bool_]) -> tuple[int, int]:
    """(y, x) of the pixel of a region (H, W) that is farthest from what is not of it.

    Example:
        >>> inner_point(np.pad(np.ones((3, 5), bool), ((4, 0), (0, 2))))[0]
        5
    """
    padded = np.pad(region.astype(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    y, x = np.unravel_index(np.argmax(depth), depth.shape)
    return int(y) - 1, int(x) - 1


def draw_overlay(
    image: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    palette: NDArray[np.uint8],
    strength: float,
) -> Picture:
    """The image (H, W, C) under the colours of its labels (H, W)."""
    return overlay(image, colorize(labels, palette), strength)


def draw_spotlight(
    image: NDArray[np.uint8], labels: NDArray[np.uint8], label: int
) -> Picture:
    """The image as it is where the labels are one, and dark elsewhere."""
    dark = overlay(image, np.zeros((*labels.shape, 3), np.uint8), DIM)
    return np.where((labels == label)[..., None], as_rgb(image), dark)


def draw_confidence(confidence: NDArray[np.float32]) -> Picture:
    """Probabilities (H, W): yellow is one, blue is zero."""
    return heat(confidence)


def draw_basis(
    image: NDArray[np.uint8], responsibilities: NDArray[np.float32], most: float
) -> Picture:
    """The responsibilities of a basis (H, W) over the image, `most` is yellow."""
    grey = np.broadcast_to(as_rgb(image).mean(-1, keepdims=True), (*image.shape[:2], 3))
    return overlay(grey, heat(responsibilities, most), DIM)


def feature_at(
    pixel: tuple[int, int], size: tuple[int, int], stride: int
) -> tuple[int, int]:
    """Row and column, in features of `size`, of the one nearest to a pixel (y, x).

    Example:
        >>> feature_at((3, 20), (5, 5), 8), feature_at((4, 39), (5, 5), 8)
        ((0, 3), (1, 4))
    """
    row, column = ((side + stride // 2) // stride for side in pixel)
    return min(row, size[0] - 1), min(column, size[1] - 1)


def strongest_shares(responsibilities: NDArray[np.float32]) -> NDArray[np.floating]:
    """Of features (h, w, K) the share whose strongest basis is each, (K,)."""
    count = responsibilities.shape[-1]
    strongest = responsibilities.argmax(-1).ravel()
    return np.bincount(strongest, minlength=count) / strongest.size


def png(picture: NDArray[np.uint8]) -> bytes:
    """The file of a picture, RGB (H, W, 3)."""
    _, data = cv2.imencode(".png", picture[..., ::-1])
    return data.tobytes()


def index_png(labels: NDArray[np.uint8], palette: NDArray[np.uint8]) -> bytes:
    """The file of a mask (H, W): class indices, with the colours as its palette."""
    picture = Image.fromarray(labels)
    picture.putpalette(color_table(palette).tobytes())
    data = io.BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()
