"""A confusion matrix as SVG, and its largest entries in words."""

import io
from collections.abc import Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np
from PIL import Image

from train.evaluation.metrics import shares
from train.report.markup import append, element, embedded

NAMED = 40
"""Classes up to which the picture names each; of more it has a pixel for each cell."""
CELL, LABELS = 26, 130
DARK = np.array((8, 48, 107))


class Confused(NamedTuple):
    """Pixels of one class that were taken for another, and their share of the class."""

    true: int
    predicted: int
    pixels: int
    share: float


def most_confused(confusion: np.ndarray, count: int) -> list[Confused]:
    """The pairs with most wrong pixels, at most `count`.

    Example:
        >>> most_confused(np.array([[8, 2], [0, 5]]), 3)
        [Confused(true=0, predicted=1, pixels=2, share=0.2)]
    """
    wrong = confusion * ~np.eye(len(confusion), dtype=bool)
    order = np.argsort(-wrong, axis=None, kind="stable")[:count]
    share = shares(confusion)
    found = []
    for true, predicted in zip(*np.unravel_index(order, wrong.shape), strict=True):
        if wrong[true, predicted]:
            pixels = int(wrong[true, predicted])
            part = float(share[true, predicted])
            found.append(Confused(int(true), int(predicted), pixels, part))
    return found


def draw_shares(confusion: np.ndarray, names: Sequence[str]) -> Element:
    """The shares of each true class, the darker the larger, in numbers where named."""
    share, count = shares(confusion), len(names)
    cell = CELL if count <= NAMED else max(2, 640 // count)
    labels = LABELS if count <= NAMED else 24
    side = labels + cell * count
    drawn = element(
        "svg",
        viewBox=f"0 0 {side} {side}",
        width=side,
        height=side,
        role="img",
        aria_label="Confusion matrix. The largest confusions are listed below it.",
    )
    grid = {"x": labels, "y": labels, "width": cell * count, "height": cell * count}
    picture = embedded(_as_png(share), "png")
    append(drawn, element("image", href=picture, **grid, class_="pixels"))
    append(drawn, element("rect", **grid, class_="frame"))
    if count <= NAMED:
        append(drawn, *_named(share, names))
    middle = labels + cell * count / 2
    turned = f"rotate(-90 12 {middle})"
    place = {"text_anchor": "middle", "font_weight": "bold"}
    append(
        drawn,
        element("text", "predicted", x=middle, y=14, **place),
        element("text", "true", x=12, y=middle, transform=turned, **place),
    )
    return drawn


def _named(share: np.ndarray, names: Sequence[str]) -> list[Element]:
    drawn = []
    for i, name in enumerate(names):
        middle = LABELS + CELL * (i + 0.5)
        text, whole = _shortened(name), element("title", name)
        end = LABELS - 5
        drawn.append(
            element(
                "text", text, whole, x=end, y=middle, dy="0.35em", text_anchor="end"
            )
        )
        place = {"x": middle, "y": end, "dy": "0.35em"}
        turned = f"rotate(-90 {middle} {end})"
        drawn.append(
            element("text", text, element("title", name), **place, transform=turned)
        )
    for i, j in np.argwhere(share >= 0.005):
        tip = f"{names[i]} taken for {names[j]}: {100 * share[i, j]:.1f} %"
        if i == j:
            tip = f"{names[i]} found: {100 * share[i, j]:.1f} %"
        drawn.append(
            element(
                "text",
                f"{100 * share[i, j]:.0f}",
                element("title", tip),
                x=LABELS + CELL * (j + 0.5),
                y=LABELS + CELL * (i + 0.5),
                dy="0.35em",
                text_anchor="middle",
                class_="light" if share[i, j] > 0.45 else "dark",
            )
        )
    return drawn


def _as_png(share: np.ndarray) -> bytes:
    """A pixel for each share, from white to dark blue."""
    colors = 255 + share[..., None] * (DARK - 255)
    file = io.BytesIO()
    Image.fromarray(np.round(colors).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def _shortened(name: str, most: int = 16) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
