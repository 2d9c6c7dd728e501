"""Images with their truth, their prediction, and where these differ."""

import io
from collections.abc import Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from train.data.access import IGNORE_LABEL
from train.evaluation.metrics import Scores
from train.evaluation.pictures import IGNORE_COLOR, as_rgb, colorize
from train.evaluation.validation import Seen
from train.report.markup import element, embedded

SIDE = 480
"""Pixels of the longer side of a picture."""
RIGHT, WRONG, IGNORED = 255, 0, 190
"""Grey values of the picture of what is wrong."""


class Example(NamedTuple):
    """An image, why it is shown, and its scores."""

    title: str
    seen: Seen
    scores: Scores


def figure(
    example: Example, names: Sequence[str], palette: NDArray[np.uint8]
) -> Element:
    """The four pictures of an example in a row, its figures, and its classes."""
    title, (image, truth, prediction, name), scores = example
    pictures = {
        "image": _jpeg(as_rgb(image)),
        "truth": _png(colorize(truth, palette)),
        "prediction": _png(colorize(prediction, palette)),
        "wrong, in black": _png(errors(truth, prediction)),
    }
    shown = [
        element(
            "div",
            element("img", src=src, alt=f"{kind} of {name}", class_="pixels"),
            element("span", kind),
        )
        for kind, src in pictures.items()
    ]
    figures = f"mIoU {100 * scores.mean_iou:.2f} %, pixel accuracy "
    figures += f"{100 * scores.pixel_accuracy:.2f} %"
    return element(
        "figure",
        element("figcaption", element("b", f"{title}: "), f"{name}, {figures}"),
        element("div", *shown, class_="example"),
        _classes(truth, prediction, names, palette),
        class_="whole",
    )


def errors(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Grey (H, W): black where a pixel is wrong, light grey where none counts.

    Example:
        >>> errors(np.array([[0, 1, 255]]), np.array([[0, 0, 0]]))
        array([[255,   0, 190]], dtype=uint8)
    """
    found = np.where(truth == prediction, RIGHT, WRONG)
    return np.where(truth == IGNORE_LABEL, IGNORED, found).astype(np.uint8)


def swatch(color: Sequence[int]) -> Element:
    """A square of a colour of the masks."""
    red, green, blue = (int(value) for value in color)
    return element("i", class_="swatch", style=f"background:rgb({red},{green},{blue})")


def _classes(
    truth: np.ndarray,
    prediction: np.ndarray,
    names: Sequence[str],
    palette: NDArray[np.uint8],
) -> Element:
    """Each class that an image has, with its shares of truth and prediction."""
    counted = truth != IGNORE_LABEL
    total = max(1, int(counted.sum()))
    true = np.bincount(truth[counted], minlength=len(names))
    found = np.bincount(prediction[counted], minlength=len(names))
    items = [
        element(
            "li",
            swatch(palette[index]),
            f"{names[index]}: {100 * true[index] / total:.1f} %, predicted "
            f"{100 * found[index] / total:.1f} %",
        )
        for index in np.flatnonzero(true + found).tolist()
    ]
    if not counted.all():
        items.append(element("li", swatch(IGNORE_COLOR), "not counted"))
    return element("ul", *items, class_="legend")


def _jpeg(picture: np.ndarray) -> str:
    return _encoded(picture, Image.Resampling.BOX, "jpeg", quality=88)


def _png(picture: np.ndarray) -> str:
    return _encoded(picture, Image.Resampling.NEAREST, "png")


def _encoded(
    picture: np.ndarray, how: Image.Resampling, kind: str, **options: int
) -> str:
    """An address that holds a picture, no side longer than `SIDE`."""
    made = Image.fromarray(np.ascontiguousarray(picture))
    made.thumbnail((SIDE, SIDE), how)
    file = io.BytesIO()
    made.save(file, kind, **options)
    return embedded(file.getvalue(), kind)
