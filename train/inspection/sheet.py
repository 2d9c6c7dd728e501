"""Pictures of a split: image, mask and both, so that its classes are seen."""

import numpy as np

from train.data.dataset import Dataset
from train.data.images import shrink
from train.data.statistics import Statistics
from train.evaluation.pictures import colorize, overlay, panel
from train.inspection.findings import Split

ROWS = 12
SIDE = 240
"""Pixels of the longer side of a picture."""


def sheet(dataset: Dataset, split: Split) -> np.ndarray:
    """RGB uint8: a line for each of a few images, chosen to show the classes."""
    source = dataset.source(split.name)
    lines = []
    for index in choose(split.statistics, ROWS):
        example = source[index]
        colors = colorize(example["label"], dataset.palette)
        pictures = (example["image"], colors, overlay(example["image"], colors))
        lines.append([shrink(picture, SIDE) for picture in pictures])
    return panel(lines)


def choose(statistics: Statistics, count: int) -> list[int]:
    """Images that hold many classes, the rare ones first.

    Again and again, of the class that the chosen ones hold least often, and of these of
    the rarest, the image with most pixels.
    """
    table = statistics.table[:, :-1]
    chosen: list[int] = []
    shown = np.where(statistics.images > 0, 0.0, np.inf)
    shown += statistics.images / (1 + statistics.images.sum())  # breaks ties
    for _ in range(min(count, len(statistics))):
        remaining = table.copy()
        remaining[chosen] = -1
        best = int(np.argmax(remaining[:, int(np.argmin(shown))]))
        chosen.append(best)
        shown = shown + statistics.holds[best]
    return list(dict.fromkeys(chosen))
