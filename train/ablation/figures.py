"""Pictures of an ablation, as PNG files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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


def draw(ablation: Ablation, results: Results, workdir: Path) -> list[Path]:
    """Draw what the ablation varies; the files written, none before a run finished."""
    summary = summarize(ablation, results, "mean_iou")
    if not any(summary.values()):
        return []
    drawn = {}
    if grid := cells(ablation, summary):
        drawn = {"grid": heat_map(grid), "mean_iou": lines(grid)}
    else:
        drawn = {"mean_iou": points(ablation, results, summary)}
    costs = summarize(ablation, results, "multiply_adds")
    if any(costs.values()):
        drawn["cost"] = against_cost(summary, costs)
    paths = []
    for name, figure in drawn.items():
        figure.axes[0].set_title(ablation.name)
        paths.append(workdir / f"{name}.png")
        figure.savefig(paths[-1])
    return paths


def points(ablation: Ablation, results: Results, summary: dict) -> Figure:
    """Mean and spread of each point of the grid, and every seed beside them."""
    labels = [_label(key) for key in summary]
    where = dict(zip(summary, positions(labels), strict=True))
    axes = _axes(width=max(6.0, 0.9 * len(labels)))
    for key, value in summary.items():
        if value:
            _error_bar(axes, where[key], value)
    names = [axis.name for axis in ablation.axes]
    for row in rows(ablation, results):
        if row["mean_iou"] is not None:
            key = tuple(row[name] for name in names), row["eval_iters"]
            axes.plot(where[key], 100 * row["mean_iou"], ".", color="grey", zorder=1)
    _name_ticks(axes, list(where.values()), labels)
    axes.set_xlabel(", ".join(names))
    axes.set_ylabel(SCORE)
    return _figure(axes)


def lines(grid: Grid) -> Figure:
    """One line for each row of a grid, over its columns."""
    axes = _axes(width=8.0)
    x = positions(grid.columns)
    for row in grid.rows:
        found = [
            (place, value)
            for place, column in zip(x, grid.columns, strict=True)
            if (value := grid.values[row, column])
        ]
        axes.errorbar(
            [place for place, _ in found],
            [100 * value.mean for _, value in found],
            [100 * (value.std or 0) for _, value in found],
            marker="o",
            capsize=3,
            label=f"{grid.names[0]} = {row}",
        )
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
                axes.text(j, i, value.percent(), ha="center", va="center", fontsize=8)
    axes.imshow(means, cmap="Blues", aspect="auto", alpha=0.6)
    axes.set_xticks(range(len(grid.columns)), grid.columns)
    axes.set_yticks(range(len(grid.rows)), grid.rows)
    axes.set_xlabel(grid.names[1])
    axes.set_ylabel(grid.names[0])
    return _figure(axes)


def against_cost(summary: dict, costs: dict) -> Figure:
    """Score against multiply-adds; the dearest first in the legend."""
    axes = _axes(width=8.0)
    found = {key: v for key, v in summary.items() if v and costs[key]}
    dear = sorted(found, key=lambda key: costs[key].mean, reverse=True)
    for index, key in enumerate(dear):
        cost = costs[key].mean / 1e9
        _error_bar(axes, cost, found[key], color=f"C{index % 10}", label=_label(key))
    axes.set_xlabel("multiply-adds (G)")
    axes.set_ylabel(SCORE)
    _legend_beside(axes)
    return _figure(axes)


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


def _legend_beside(axes: Axes) -> None:
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def _error_bar(
    axes: Axes, x: float, value: Statistic, color: str = "C0", label: str = ""
) -> None:
    error = 100 * value.std if value.std is not None else None
    axes.errorbar(
        *(x, 100 * value.mean, error),
        fmt="o",
        color=color,
        label=label,
        capsize=4,
        zorder=2,
    )


def _name_ticks(axes: Axes, x: Sequence[float], labels: Sequence[str]) -> None:
    turned = max(map(len, labels)) > 6
    axes.set_xticks(
        x, labels, rotation=30 if turned else 0, ha="right" if turned else "center"
    )


def _label(key: tuple) -> str:
    labels, iters = key
    parts = [*labels, *([] if iters is None else [f"T_eval {iters}"])]
    return ", ".join(parts) or "base"
