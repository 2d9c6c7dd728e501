"""What the runs of an ablation found: a line each, and the means over the seeds."""

import csv
import io
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from train.ablation.grid import CLASS, COLUMNS, SWEPT, Ablation

Results = Mapping[str, Mapping[str, Any]]
"""Folder of a run to its `result.json`; runs that did not end are missing."""

Key = tuple[tuple[str, ...], int | None]
"""Labels of a point, and EM iterations in evaluation (None: the config's own)."""

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
        return self.text(100, 2)

    def error(self) -> float | None:
        """The standard error of the mean.

        Example:
            >>> Statistic(0.5, 0.01, 4).error()
            0.005
        """
        return None if self.std is None else self.std / math.sqrt(self.n)

    def text(self, scale: float, digits: int) -> str:
        """As text, times `scale`.

        Example:
            >>> Statistic(31.25, 0.5, 3).text(1, 1)
            '31.2 ± 0.5'
        """
        mean = f"{scale * self.mean:.{digits}f}"
        if self.std is None:
            return mean
        return f"{mean} ± {scale * self.std:.{digits}f}"


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


def by_seed(
    ablation: Ablation, results: Results, field: str
) -> dict[Key, dict[int, float]]:
    """A column of what finished: for each line of the table, its value at each seed."""
    names = [axis.name for axis in ablation.axes]
    found: dict[Key, dict[int, float]] = {key: {} for key in keys(ablation)}
    for line in rows(ablation, results):
        if line["status"] == FINISHED and line[field] is not None:
            labels = tuple(line[name] for name in names)
            found[labels, line["eval_iters"]][line["seed"]] = line[field]
    return found


def summarize(
    ablation: Ablation, results: Results, field: str
) -> dict[Key, Statistic | None]:
    """The statistic over the seeds of a column, for each line of the table."""
    found = by_seed(ablation, results, field)
    return {key: statistic([*values.values()]) for key, values in found.items()}


def compare(
    ablation: Ablation, results: Results, field: str
) -> dict[Key, Statistic | None]:
    """How much each line of the table is above the first, over the seeds of both.

    A seed gives all points the same crops in the same order, so that a difference
    within a seed varies less than the values do.
    """
    found = by_seed(ablation, results, field)
    first = next(iter(found.values()))
    return {
        key: statistic([values[seed] - first[seed] for seed in values if seed in first])
        for key, values in found.items()
    }


@dataclass(frozen=True)
class Grid:
    """A statistic over two things that vary."""

    names: tuple[str, str]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: dict[tuple[str, str], Statistic | None]

    def most(self) -> int:
        """The largest n of a cell."""
        return max((value.n for value in self.values.values() if value), default=0)

    def text(self, row: str, column: str) -> str:
        """A cell in percent, with its n where that is not the largest."""
        value = self.values[row, column]
        if value is None:
            return "–"
        return value.percent() + (f" (n={value.n})" if value.n < self.most() else "")


def cells(ablation: Ablation, summary: Mapping[Key, Statistic | None]) -> Grid | None:
    """The summary as a grid, if exactly two things vary; else None."""
    names = [axis.name for axis in ablation.axes]
    if ablation.eval_iters:
        names.append(SWEPT)
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
