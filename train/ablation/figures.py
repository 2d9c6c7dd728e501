"""Pictures of an ablation, as PNG files."""

import io
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from train.ablation.grid import SWEPT
from train.ablation.results import (
    Findings,
    Key,
    Statistic,
    Summary,
    cell,
    fewer,
    most,
    sides,
    summarize,
)
from train.user.files import write_whole

SCORE = "val mIoU (%)"
FIGURES = ("grid", "mean_iou", "cost")
MARKERS = ("o", "s", "^")
SPREAD = 0.5  # of the distance of two columns, over which the lines stand apart


def draw(title: str, found: Findings, workdir: Path) -> list[Path]:
    """Draw what the ablation varies; the files written, none before a run finished.

    Figures of an earlier call that are not drawn now are deleted.
    """
    drawn = _figures(found)
    for name in FIGURES:
        path = workdir / f"{name}.png"
        if figure := drawn.get(name):
            figure.axes[0].set_title(title)
            picture = io.BytesIO()
            figure.savefig(picture, format="png")
            write_whole(path, picture.getvalue())
        else:
            path.unlink(missing_ok=True)
    return [workdir / f"{name}.png" for name in drawn]


def _figures(found: Findings) -> dict[str, Figure]:
    """By the name of its file, each figure that there is something for."""
    names, summary = found.names, summarize(found, "mean_iou")
    if not any(summary.values()):
        return {}
    if len(names) == 2:
        drawn = {"grid": heat_map(names, summary), "mean_iou": lines(names, summary)}
    else:
        drawn = {"mean_iou": points(found)}
    if any(summarize(found, "multiply_adds").values()):
        drawn["cost"] = against_cost(found)
    return drawn


def points(found: Findings) -> Figure:
    """Mean and spread of each point of the grid, and every seed beside them."""
    summary = summarize(found, "mean_iou")
    labels = [_label(found, key) for key in summary]
    where = dict(zip(summary, positions(labels), strict=True))
    figure, axes = _canvas(width=max(6.0, 0.9 * len(labels)))
    for key, value in summary.items():
        if value:
            _error_bar(axes, where[key], value, "C0")
    for line in found.lines:
        if line.get("mean_iou") is not None:
            x = where[tuple(line[name] for name in found.names)]
            axes.plot(x, 100 * line["mean_iou"], ".", color="grey", zorder=1)
    marks = [fewer(v.n if v else 0, most(summary)) for v in summary.values()]
    counted = [label + mark for label, mark in zip(labels, marks, strict=True)]
    _name_ticks(axes, list(where.values()), counted)
    axes.set(xlabel=", ".join(found.axes), ylabel=SCORE)
    return figure


def lines(names: Sequence[str], summary: Summary) -> Figure:
    """One line for each row of a grid, over its columns; open where n is smaller."""
    figure, axes = _canvas(width=7.5)
    rows, columns = sides(summary)
    x = positions(columns)
    nearest = min((abs(a - b) for a, b in pairwise(x)), default=1.0)
    step = SPREAD * nearest / len(rows)
    for i, row in enumerate(rows):
        found = {
            place + step * (i - (len(rows) - 1) / 2): value
            for place, column in zip(x, columns, strict=True)
            if (value := summary[row, column])
        }
        means = [100 * value.mean for value in found.values()]
        n = max((value.n for value in found.values()), default=0)
        name = f"{names[0]} = {row}{fewer(n, most(summary))}"
        axes.plot(list(found), means, color=colour(i), zorder=1, label=name)
        for place, value in found.items():
            _error_bar(axes, place, value, colour(i), value.n < most(summary))
    _name_ticks(axes, x, columns)
    axes.set(xlabel=names[1], ylabel=SCORE)
    _legend_beside(figure)
    return figure


def heat_map(names: Sequence[str], summary: Summary) -> Figure:
    """The grid in colours, with its numbers."""
    rows, columns = sides(summary)
    means = np.full((len(rows), len(columns)), np.nan)
    figure, axes = _canvas(2 + 1.3 * len(columns), 1.5 + 0.6 * len(rows))
    for i, j in np.ndindex(means.shape):
        if value := summary[rows[i], columns[j]]:
            means[i, j] = 100 * value.mean
            text = cell(summary, rows[i], columns[j])
            axes.text(j, i, text, ha="center", va="center", fontsize=8)
    axes.imshow(means, cmap="Blues", aspect="auto", alpha=0.6)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.set(xlabel=names[1], ylabel=names[0])
    return figure


def against_cost(found: Findings) -> Figure:
    """Score against multiply-adds; a legend names the points, as costs may be alike."""
    figure, axes = _canvas(width=7.5)
    summary = summarize(found, "mean_iou")
    costs = summarize(found, "multiply_adds")
    for i, (key, value) in enumerate(summary.items()):
        if value and (cost := costs[key]):
            name = _label(found, key) + fewer(value.n, most(summary))
            options = {"fmt": MARKERS[i // 10 % 3], "label": name}
            less = value.n < most(summary)
            _error_bar(axes, cost.mean / 1e9, value, colour(i), less, **options)
    axes.set(xlabel="multiply-adds (G)", ylabel=SCORE)
    _legend_beside(figure)
    return figure


def colour(index: int) -> str:
    """A colour of matplotlib's cycle of ten."""
    return f"C{index % 10}"


def positions(labels: Sequence[str]) -> list[float]:
    """Where labels stand on an axis: positive numbers by their logarithm, words evenly.

    Example:
        >>> positions(["1", "2", "8"]), positions(["l2", "layer"])
        ([0.0, 1.0, 3.0], [0.0, 1.0])
    """
    try:
        values = [float(label) for label in labels]
    except ValueError:
        return [float(index) for index in range(len(labels))]
    return values if min(values) <= 0 else np.log2(values).tolist()


def _canvas(width: float, height: float = 4.0) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    return figure, figure.subplots()


def _error_bar(
    axes: Axes,
    x: float,
    value: Statistic,
    color: str,
    hollow: bool = False,
    **options: Any,
) -> None:
    """Mean and spread in percent."""
    axes.errorbar(
        x,
        100 * value.mean,
        100 * value.std if value.std is not None else None,
        color=color,
        markerfacecolor="white" if hollow else color,
        **{"fmt": "o", "capsize": 4, "zorder": 2, **options},
    )


def _legend_beside(figure: Figure) -> None:
    """Outside, where it hides no point."""
    figure.legend(loc="outside right upper", fontsize=8)


def _name_ticks(axes: Axes, x: Sequence[float], labels: Sequence[str]) -> None:
    turned = max(map(len, labels)) > 6
    axes.set_xticks(
        x, labels, rotation=30 if turned else 0, ha="right" if turned else "center"
    )


def _label(found: Findings, key: Key) -> str:
    """A point in words: its labels, and the iterations by name."""
    parts = [
        f"{SWEPT} {label}" if name == SWEPT else label
        for name, label in zip(found.names, key, strict=True)
    ]
    return ", ".join(parts) or "base"
