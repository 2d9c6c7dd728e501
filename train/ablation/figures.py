"""Pictures of an ablation, as PNG files."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from train.ablation.folder import replace
from train.ablation.grid import Ablation
from train.ablation.results import (
    Grid,
    Results,
    Statistic,
    cells,
    rows,
    summarize,
)

SCORE = "val mIoU (%)"
FIGURES = ("grid", "mean_iou", "cost")
MARKERS = ("o", "s", "^")
SPREAD = 0.5  # of the distance of two columns, over which the lines stand apart


def draw(ablation: Ablation, results: Results, workdir: Path) -> list[Path]:
    """Draw what the ablation varies; the files written, none before a run finished.

    Figures of an earlier call that are not drawn now are deleted.
    """
    drawn = _figures(ablation, results)
    for name in FIGURES:
        path = workdir / f"{name}.png"
        if figure := drawn.get(name):
            figure.axes[0].set_title(ablation.name)
            replace(path, partial(figure.savefig, format="png"))
        else:
            path.unlink(missing_ok=True)
    return [workdir / f"{name}.png" for name in drawn]


def _figures(ablation: Ablation, results: Results) -> dict[str, Figure]:
    """By the name of its file, each figure that there is something for."""
    summary = summarize(ablation, results, "mean_iou")
    if not any(summary.values()):
        return {}
    if grid := cells(ablation, summary):
        drawn = {"grid": heat_map(grid), "mean_iou": lines(grid)}
    else:
        drawn = {"mean_iou": points(ablation, results, summary)}
    costs = summarize(ablation, results, "multiply_adds")
    if any(costs.values()):
        drawn["cost"] = against_cost(summary, costs)
    return drawn


def points(ablation: Ablation, results: Results, summary: dict) -> Figure:
    """Mean and spread of each point of the grid, and every seed beside them."""
    most = max(value.n for value in summary.values() if value)
    labels = [_label(key) for key in summary]
    where = dict(zip(summary, positions(labels), strict=True))
    axes = _axes(width=max(6.0, 0.9 * len(labels)))
    for key, value in summary.items():
        if value:
            _error_bar(axes, where[key], value, "C0")
    names = [axis.name for axis in ablation.axes]
    for row in rows(ablation, results):
        if row["mean_iou"] is not None:
            key = tuple(row[name] for name in names), row["eval_iters"]
            axes.plot(where[key], 100 * row["mean_iou"], ".", color="grey", zorder=1)
    counted = [
        text + fewer(value, most)
        for text, value in zip(labels, summary.values(), strict=True)
    ]
    _name_ticks(axes, list(where.values()), counted)
    axes.set_xlabel(", ".join(names))
    axes.set_ylabel(SCORE)
    return _figure(axes)


def lines(grid: Grid) -> Figure:
    """One line for each row of a grid, over its columns; open where n is smaller."""
    axes = _axes(width=7.5)
    x = positions(grid.columns)
    nearest = min((abs(a - b) for a, b in pairwise(x)), default=1.0)
    step = SPREAD * nearest / len(grid.rows)
    for i, row in enumerate(grid.rows):
        found = [
            (place + step * (i - (len(grid.rows) - 1) / 2), value)
            for place, column in zip(x, grid.columns, strict=True)
            if (value := grid.values[row, column])
        ]
        name = f"{grid.names[0]} = {row}"
        counts = {value.n for _, value in found}
        if counts and max(counts) < grid.most():
            name += f" (n={max(counts)})"
        axes.plot(
            [place for place, _ in found],
            [100 * value.mean for _, value in found],
            color=colour(i),
            zorder=1,
            label=name,
        )
        for place, value in found:
            _error_bar(axes, place, value, colour(i), value.n < grid.most())
    _name_ticks(axes, x, grid.columns)
    axes.set_xlabel(grid.names[1])
    axes.set_ylabel(SCORE)
    _legend_beside(axes)
    return _figure(axes)


def heat_map(grid: Grid) -> Figure:
    """The grid in colours, with its numbers."""
    means = np.full((len(grid.rows), len(grid.columns)), np.nan)
    axes = _axes(width=2 + 1.3 * means.shape[1], height=1.5 + 0.6 * means.shape[0])
    for i, row in enumerate(grid.rows):
        for j, column in enumerate(grid.columns):
            if value := grid.values[row, column]:
                means[i, j] = 100 * value.mean
                axes.text(
                    j, i, grid.text(row, column), ha="center", va="center", fontsize=8
                )
    axes.imshow(means, cmap="Blues", aspect="auto", alpha=0.6)
    axes.set_xticks(range(len(grid.columns)), grid.columns)
    axes.set_yticks(range(len(grid.rows)), grid.rows)
    axes.set_xlabel(grid.names[1])
    axes.set_ylabel(grid.names[0])
    return _figure(axes)


def against_cost(summary: dict, costs: dict) -> Figure:
    """Score against multiply-adds; a legend names the points, as costs may be alike."""
    axes = _axes(width=7.5)
    most = max(value.n for value in summary.values() if value)
    for i, (key, value) in enumerate(summary.items()):
        if value and costs[key]:
            cost, less = costs[key].mean / 1e9, value.n < most
            name = _label(key) + fewer(value, most)
            _error_bar(axes, cost, value, colour(i), less, MARKERS[i // 10 % 3], name)
    axes.set_xlabel("multiply-adds (G)")
    axes.set_ylabel(SCORE)
    _legend_beside(axes)
    return _figure(axes)


def fewer(value: Statistic | None, most: int) -> str:
    """A mark for a statistic of fewer seeds than others have.

    Example:
        >>> fewer(Statistic(0.5, None, 1), most=3)
        ' (n=1)'
    """
    return f" (n={value.n})" if value and value.n < most else ""


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
    if min(values) <= 0:
        return values
    return [float(np.log2(value)) for value in values]


def _axes(width: float = 6.0, height: float = 4.0) -> Axes:
    return Figure(figsize=(width, height), dpi=120, layout="constrained").subplots()


def _figure(axes: Axes) -> Figure:
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    return figure


def _error_bar(
    axes: Axes,
    x: float,
    value: Statistic,
    color: str,
    hollow: bool = False,
    marker: str = "o",
    name: str | None = None,
) -> None:
    axes.errorbar(
        x,
        100 * value.mean,
        100 * value.std if value.std is not None else None,
        fmt=marker,
        color=color,
        markerfacecolor="white" if hollow else color,
        capsize=4,
        zorder=2,
        label=name,
    )


def _legend_beside(axes: Axes) -> None:
    """Outside, where it hides no point."""
    _figure(axes).legend(loc="outside right upper", fontsize=8)


def _name_ticks(axes: Axes, x: Sequence[float], labels: Sequence[str]) -> None:
    turned = max(map(len, labels)) > 6
    axes.set_xticks(
        x, labels, rotation=30 if turned else 0, ha="right" if turned else "center"
    )


def _label(key: tuple) -> str:
    labels, iters = key
    parts = [*labels, *([] if iters is None else [f"T_eval {iters}"])]
    return ", ".join(parts) or "base"
