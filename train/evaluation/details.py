"""What an evaluation found, image for image and class against class, as files."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

from train.evaluation.metrics import Scores, shares
from train.evaluation.pictures import panel, write_picture
from train.evaluation.tally import Tally, tally
from train.evaluation.validation import Validation
from train.user.folders import writable_folder, writing

WORST = 8
"""Images of which there are pictures."""
NAMED = 40
"""Classes up to which a picture of the confusion matrix names each."""


def write_details(
    validation: Validation,
    variables: dict[str, Any],
    output: str,
    image_names: Sequence[str],
) -> Scores:
    """Evaluate, and write what each image and class contributes; see the others below.

    Args:
        validation: a split under a network.
        variables: of the network.
        output: a folder, made if need be.
        image_names: of the split, in its order.

    Returns:
        The scores of the split.

    Raises:
        UserError: the folder, or a file in it, cannot be written.
    """
    folder = Path(writable_folder("output", output))
    details = tally(validation, variables)
    if jax.process_index() == 0:
        names = validation.split.dataset.class_names
        write_tables(details, folder, image_names, names)
    write_worst(details, folder, validation, variables, image_names)
    return details.scores


def write_tables(
    details: Tally, folder: Path, image_names: Sequence[str], names: Sequence[str]
) -> None:
    """Write `images.csv`, the worst first, `confusion.csv` and `confusion.png`.

    Args:
        details: of an evaluation.
        folder: an existing one.
        image_names: of the split, in its order.
        names: of the classes.

    Raises:
        UserError: a file cannot be written.
    """
    header = ["name", "mean_iou", "pixel_accuracy", "loss"]
    header += [f"iou/{name}" for name in names]
    rows = []
    for index in details.worst_first():
        found = details.images[index]
        figures = (found.mean_iou, found.pixel_accuracy, found.loss, *found.iou)
        rows.append([image_names[index], *map(_cell, figures)])
    _write(folder / "images.csv", _csv([header, *rows]))
    counts = zip(names, details.confusion.tolist(), strict=True)
    matrix = [[name, *row] for name, row in counts]
    _write(folder / "confusion.csv", _csv([["true \\ predicted", *names], *matrix]))
    picture = io.BytesIO()
    draw_confusion(details.confusion, names).savefig(picture, format="png")
    _write(folder / "confusion.png", picture.getvalue())


def write_worst(
    details: Tally,
    folder: Path,
    validation: Validation,
    variables: dict[str, Any],
    image_names: Sequence[str],
) -> None:
    """Write `worst/RANK_NAME.png`: image, truth and prediction side by side.

    Each process writes those whose rows it fed.
    """
    worst = details.worst_first()[:WORST]
    for index, pictures in validation.pictures(variables, worst).items():
        name = f"{worst.index(index) + 1:02}_{image_names[index].replace('/', '_')}"
        write_picture(folder / "worst" / f"{name}.png", panel([pictures]))


def draw_confusion(confusion: np.ndarray, names: Sequence[str]) -> Figure:
    """The share of each true class, a row, that is predicted as each class."""
    share = shares(confusion)
    count = len(names)
    side = 2.5 + 0.3 * min(count, NAMED)
    figure = Figure(figsize=(side + 1, side), dpi=120, layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(100 * share, cmap="Blues", vmin=0, vmax=100)
    figure.colorbar(image, label="share of the true class (%)", shrink=0.8)
    if count <= NAMED:
        axes.set_xticks(range(count), names, rotation=90)
        axes.set_yticks(range(count), names)
        for i, j in np.argwhere(share >= 0.005):
            color = "white" if share[i, j] > 0.6 else "black"
            text = f"{100 * share[i, j]:.0f}"
            axes.text(j, i, text, ha="center", va="center", fontsize=6, color=color)
    axes.set(xlabel="predicted", ylabel="true")
    return figure


def _cell(value: float) -> str:
    """Empty where it is not defined."""
    return f"{value:.6f}" if np.isfinite(value) else ""


def _csv(rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _write(path: Path, content: bytes) -> None:
    with writing("output", path):
        path.write_bytes(content)
