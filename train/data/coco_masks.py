"""Class masks of COCO's instance annotations, polygons and run lengths."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from train.data.access import IGNORE_LABEL
from train.data.masks import Mask


def class_mask(objects: Iterable[tuple[int, Any]], size: tuple[int, int]) -> Mask:
    """Paints objects on background 0; where two classes overlap it says 255.

    Args:
      objects: (class, COCO's "segmentation") each.
      size: height and width.

    Raises:
      ValueError, KeyError, TypeError: a segmentation is neither polygons nor runs.
    """
    mask = np.zeros(size, np.uint8)
    for label, segmentation in objects:
        inside = object_mask(segmentation, size)
        taken = inside & (mask != 0) & (mask != label)
        mask[inside & (mask == 0)] = label
        mask[taken] = IGNORE_LABEL
    return mask


def object_mask(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """Bool (H, W) of one object: the union of its polygons, or its runs."""
    if isinstance(segmentation, dict):
        if tuple(segmentation["size"]) != size:
            raise ValueError(f"runs of {segmentation['size']} in an image of {size}")
        return decode_runs(segmentation["counts"], size)
    inside = np.zeros(size, bool)
    for polygon in segmentation:
        inside |= polygon_mask(polygon, size)
    return inside


def polygon_mask(polygon: Sequence[float], size: tuple[int, int]) -> np.ndarray:
    """Bool (H, W): the pixels whose centre is inside, by the even-odd rule.

    Args:
      polygon: x and y of each corner, in turn; a pixel reaches from 0 to 1.
      size: height and width.
    """
    height, width = size
    corners = np.asarray(polygon, np.float64).reshape(-1, 2) - 0.5
    x, y = corners.T  # now a pixel's centre is a whole number
    run, rise = (np.roll(corners, -1, axis=0) - corners).T
    first = np.ceil(np.minimum(y, y + rise)).clip(0, height).astype(int)
    end = np.ceil(np.maximum(y, y + rise)).clip(0, height).astype(int)
    count = end - first  # the rows that each edge crosses
    edge = np.repeat(np.arange(len(x)), count)
    row = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count - first, count)
    crossing = x[edge] + (row - y[edge]) / rise[edge] * run[edge]
    column = np.ceil(crossing).clip(0, width).astype(int)
    turns = np.bincount(row * (width + 1) + column, minlength=height * (width + 1))
    return np.cumsum(turns.reshape(height, width + 1), axis=1)[:, :width] % 2 > 0


def decode_runs(counts: Sequence[int] | str, size: tuple[int, int]) -> np.ndarray:
    """Bool (H, W) of run lengths down the columns, outside and inside in turn.

    Example:
        >>> decode_runs([1, 2, 1], (2, 2)).astype(int).tolist()
        [[0, 1], [1, 0]]
    """
    lengths = expand_counts(counts) if isinstance(counts, str) else list(counts)
    if sum(lengths) != size[0] * size[1] or min(lengths) < 0:
        raise ValueError(f"runs of {sum(lengths)} pixels in an image of {size}")
    values = np.arange(len(lengths)) % 2 > 0
    return np.repeat(values, lengths).reshape(size, order="F")


def expand_counts(text: str) -> list[int]:
    """Run lengths of COCO's compressed form.

    Each is written in signed digits of five bits, the lowest first and bit 5 set where
    more follow; from the fourth on it is the difference from the run two before.
    """
    counts: list[int] = []
    value = place = 0
    for character in text:
        digit = ord(character) - 48
        value |= (digit & 31) << place
        place += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << place
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = place = 0
    return counts
