"""Segmentation scores from a confusion matrix of integers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array

from train.data.access import IGNORE_LABEL


def confusion_matrix(labels: Array, predictions: Array, num_classes: int) -> Array:
    """Count the pixels of each (true class, predicted class).

    Args:
        labels: any shape, integers; 255 is not counted.
        predictions: the same shape, in 0..num_classes-1.

    Returns:
        (num_classes, num_classes), int32; the rows are the true classes. Sum the
        batches of a set in 64 bits.

    Example:
        >>> confusion_matrix(jnp.array([0, 1, 255]), jnp.array([0, 0, 1]), 2)
        Array([[1, 0],
               [1, 0]], dtype=int32)
    """
    valid = labels != IGNORE_LABEL
    labels = jnp.where(valid, labels, num_classes).astype(jnp.int32)
    cell = (labels * num_classes + predictions.astype(jnp.int32)).ravel()
    counts = jnp.bincount(cell, length=(num_classes + 1) * num_classes)
    return counts.reshape(num_classes + 1, num_classes)[:num_classes]


@dataclass(frozen=True)
class Scores:
    """Figures of a confusion matrix; NaN where a class does not occur."""

    mean_iou: float
    pixel_accuracy: float
    class_accuracy: float
    frequency_weighted_iou: float
    loss: float
    """Mean cross-entropy of the pixels that count."""
    iou: np.ndarray
    accuracy: np.ndarray
    share: np.ndarray


def scores(confusion: np.ndarray, cross_entropy: float = math.nan) -> Scores:
    """Scores of a confusion matrix whose rows are the true classes.

    `IoU_c = tp / (tp + fp + fn)`, undefined for a class that neither occurs nor is
    predicted; the means run over the classes for which they are defined. The loss is
    the mean of `cross_entropy`, a sum over its pixels.

    Example:
        >>> scores(np.array([[3, 1], [0, 4]])).iou
        array([0.75, 0.8 ])
    """
    confusion = np.asarray(confusion, np.float64)
    hit = np.diag(confusion)
    true, predicted = confusion.sum(1), confusion.sum(0)
    total = confusion.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        iou = hit / (true + predicted - hit)
        accuracy = hit / true
        share = true / total
        pixel_accuracy = hit.sum() / total
        loss = cross_entropy / total
    return Scores(
        mean_iou=mean_of(iou),
        pixel_accuracy=float(pixel_accuracy),
        class_accuracy=mean_of(accuracy),
        frequency_weighted_iou=float(np.nansum(share * iou)),
        loss=float(loss),
        iou=iou,
        accuracy=accuracy,
        share=share,
    )


def table(result: Scores, class_names: Sequence[str]) -> str:
    """The per-class scores and the means, in percent, as text."""
    width = max(len("class"), *map(len, class_names), len("pixel accuracy"))
    lines = [f"{'class':<{width}}     IoU  accuracy   share"]
    rows = zip(class_names, result.iou, result.accuracy, result.share, strict=True)
    for name, iou, accuracy, share in rows:
        lines.append(
            f"{name:<{width}}  {_percent(iou)}   {_percent(accuracy)}  "
            f"{_percent(share)}"
        )
    lines.append(f"{'mean':<{width}}  {_percent(result.mean_iou)}")
    lines[-1] += f"   {_percent(result.class_accuracy)}"
    lines.append(f"{'pixel accuracy':<{width}}  {_percent(result.pixel_accuracy)}")
    lines.append(f"{'fwIoU':<{width}}  {_percent(result.frequency_weighted_iou)}")
    if not math.isnan(result.loss):
        lines.append(f"{'loss':<{width}}  {result.loss:6.4f}")
    return "\n".join(lines)


def _percent(value: float) -> str:
    return "     –" if np.isnan(value) else f"{100 * value:6.2f}"


def shares(confusion: np.ndarray) -> np.ndarray:
    """Of each true class, a row, the share that is predicted as each class."""
    true = confusion.sum(1, keepdims=True)
    return np.divide(confusion, true, out=np.zeros(confusion.shape), where=true > 0)


def mean_of(values: np.ndarray) -> float:
    """Mean of those that are defined; NaN where none is."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
