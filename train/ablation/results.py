"""What the runs of an ablation found: a line each, and the means over the seeds."""

import csv
import io
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from train.ablation.grid import Ablation

Results = Mapping[str, Mapping[str, Any]]
"""Folder of a run to its `result.json`; runs that did not end are missing."""

Key = tuple[tuple[str, ...], int | None]
"""Labels of a point, and EM iterations in evaluation (None: the config's own)."""

COLUMNS = (
    "seed",
    "eval_iters",
    "status",
    "mean_iou",
    "pixel_accuracy",
    "images_per_second",
    "parameters",
    "multiply_adds",
    "training_memory",
    "error",
)
CLASS = "iou/"
"""Before the name of a class, the column of its IoU."""

FINISHED = "finished"


@dataclass(frozen=True)
class Statistic:
    """Mean and sample standard deviation of n numbers; one number has no spread."""

    mean: float
    std: float | None
    n: int

    def percent(self) -> str:
        """As text, in percent.

        Example:
            >>> Statistic(0.5, 0.01, 3).percent()
            '50.00 ± 1.00'
        """
        scaled = Statistic(
            100 * self.mean, None if self.std is None else 100 * self.std, self.n
        )
        return scaled.text(2)

    def text(self, digits: int) -> str:
        """Mean and spread with some digits behind the point."""
        spread = "" if self.std is None else f" ± {self.std:.{digits}f}"
        return f"{self.mean:.{digits}f}{spread}"


def statistic(values: Sequence[float]) -> Statistic | None:
    """Of at least one number, None of none.

    Example:
        >>> statistic([1.0, 3.0])
        Statistic(mean=2.0, std=1.4142135623730951, n=2)
    """
    if not values:
        return None
    std = statistics.stdev(values) if len(values) > 1 else None
    return Statistic(statistics.fmean(values), std, len(values))


def rows(ablation: Ablation, results: Results) -> list[dict[str, Any]]:
    """A line for each run that ended, and each number of iterations it was seen at."""
    names = [axis.name for axis in ablation.axes]
    shown = columns(ablation, results)
    lines = []
    for run in ablation.runs:
        result = results.get(run.folder)
        if result is None:
            continue
        for scores in result.get("scores", [{}]):
            labels = dict(zip(names, run.labels, strict=True))
            classes = {CLASS + name: v for name, v in scores.get("iou", {}).items()}
            line = {**result, **scores, **classes, **labels, "seed": run.seed}
            lines.append({name: line.get(name) for name in shown})
    return lines


def columns(ablation: Ablation, results: Results) -> list[str]:
    """The columns of a line: axes, scores and costs, classes."""
    names = [axis.name for axis in ablation.axes]
    return [*names, *COLUMNS, *class_columns(results)]


def class_columns(results: Results) -> tuple[str, ...]:
    """The columns of the classes, in the order of the data set."""
    scores = (
        found for result in results.values() for found in result.get("scores", ())
    )
    names = dict.fromkeys(name for found in scores for name in found.get("iou", ()))
    return tuple(CLASS + name for name in names)


def as_csv(ablation: Ablation, results: Results) -> str:
    """The lines as CSV, in the order of the runs."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns(ablation, results), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(ablation, results))
    return text.getvalue()


def keys(ablation: Ablation) -> Iterator[Key]:
    """What the table has a line for, in the order of the grid."""
    points = dict.fromkeys(run.labels for run in ablation.runs)
    for labels in points:
        for iters in ablation.eval_iters or (None,):
            yield labels, iters


def summarize(
    ablation: Ablation, results: Results, field: str
) -> dict[Key, Statistic | None]:
    """The statistic over the seeds of a column, for each line of the table."""
    names = [axis.name for axis in ablation.axes]
    found: dict[Key, list[float]] = {key: [] for key in keys(ablation)}
    for line in rows(ablation, results):
        if line["status"] == FINISHED and line[field] is not None:
            labels = tuple(line[name] for name in names)
            found[labels, line["eval_iters"]].append(line[field])
    return {key: statistic(values) for key, values in found.items()}


def as_markdown(ablation: Ablation, results: Results) -> str:
    """The means as tables, and what did not end well."""
    count = f"{len(ablation.runs)} runs"
    parts = [
        f"# {ablation.name}",
        conditions(ablation),
        "mIoU and pixel accuracy of the last step in percent: mean ± sample standard "
        f"deviation over n seeds; {count}, {_finished(results)} finished.",
        _long_table(ablation, results),
    ]
    if grid := cells(ablation, summarize(ablation, results, "mean_iou")):
        parts.append(_cross_table(grid))
    if not ablation.eval_iters and (classes := class_columns(results)):
        parts += ["IoU by class, in percent:", _class_table(ablation, results, classes)]
    problems = [
        f"- {run.folder}: {result['status']}: {result['error']}"
        for run in ablation.runs
        if (result := results.get(run.folder)) and result["status"] != FINISHED
    ]
    if problems:
        parts += ["Runs that did not finish:", "\n".join(problems)]
    return "\n\n".join(parts) + "\n"


def conditions(ablation: Ablation) -> str:
    """Under which the runs were trained, but for what the axes vary."""
    config = ablation.runs[0].config
    height, width = config.data.crop_size
    start = config.model.pretrained
    weights = "random weights" if start == "random" else str(start)
    return (
        f"{config.data.name}: {config.num_steps} steps of {config.batch_size} crops of "
        f"{height}×{width}, from {weights}; learning rate "
        f"{config.optimizer.learning_rate}; jax {version('jax')}."
    )


@dataclass(frozen=True)
class Grid:
    """A statistic over two things that vary."""

    names: tuple[str, str]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: dict[tuple[str, str], Statistic | None]


def cells(ablation: Ablation, summary: Mapping[Key, Statistic | None]) -> Grid | None:
    """The summary as a grid, if exactly two things vary; else None."""
    names = [axis.name for axis in ablation.axes]
    if ablation.eval_iters:
        names.append("T_eval")
    if len(names) != 2:
        return None
    values = {_cell(key): value for key, value in summary.items()}
    return Grid(
        (names[0], names[1]),
        tuple(dict.fromkeys(row for row, _ in values)),
        tuple(dict.fromkeys(column for _, column in values)),
        values,
    )


def _cell(key: Key) -> tuple[str, str]:
    labels, iters = key
    first, second = labels if iters is None else (*labels, str(iters))
    return first, second


FORMATS: dict[str, tuple[str, Callable[[Statistic], str]]] = {
    "mean_iou": ("mIoU", Statistic.percent),
    "pixel_accuracy": ("pixel accuracy", Statistic.percent),
    "images_per_second": ("images/s", lambda value: value.text(1)),
    "parameters": ("parameters", lambda value: f"{value.mean / 1e6:.3f} M"),
    "multiply_adds": ("multiply-adds", lambda value: f"{value.mean / 1e9:.3f} G"),
    "training_memory": ("training memory", lambda v: f"{v.mean / 2**20:.0f} MiB"),
}


def _long_table(ablation: Ablation, results: Results) -> str:
    summaries = {field: summarize(ablation, results, field) for field in FORMATS}
    shown = {
        field: formatted
        for field, formatted in FORMATS.items()
        if any(value is not None for value in summaries[field].values())
    }
    names = [axis.name for axis in ablation.axes]
    sweep = ["T_eval"] if ablation.eval_iters else []
    lines = [[*names, *sweep, *(title for title, _ in shown.values()), "n"]]
    for key in keys(ablation):
        labels, iters = key
        line = [*labels, *([str(iters)] if sweep else [])]
        for field, (_, text) in shown.items():
            value = summaries[field][key]
            line.append("–" if value is None else text(value))
        score = summaries["mean_iou"][key]
        lines.append([*line, str(score.n if score else 0)])
    return markdown_table(lines)


def _cross_table(grid: Grid) -> str:
    lines = [[f"mIoU: {grid.names[0]} \\ {grid.names[1]}", *grid.columns]]
    for row in grid.rows:
        found = [grid.values[row, column] for column in grid.columns]
        lines.append([row, *("–" if v is None else v.percent() for v in found)])
    return markdown_table(lines)


def _class_table(ablation: Ablation, results: Results, classes: Sequence[str]) -> str:
    lines = [["class", *(", ".join(labels) for labels, _ in keys(ablation))]]
    for column in classes:
        found = summarize(ablation, results, column).values()
        texts = ("–" if value is None else value.percent() for value in found)
        lines.append([column.removeprefix(CLASS), *texts])
    return markdown_table(lines)


def markdown_table(lines: Sequence[Sequence[str]]) -> str:
    """A table whose first line is the head.

    Example:
        >>> print(markdown_table([["a", "b"], ["1", "2"]]))
        | a | b |
        |---|---|
        | 1 | 2 |
    """
    rows = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([rows[0], "|" + "---|" * len(lines[0]), *rows[1:]])


def _finished(results: Results) -> int:
    return sum(result["status"] == FINISHED for result in results.values())
