"""What the runs of an ablation found: a line each, and the means over the seeds."""

import csv
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from train.ablation.folder import FINISHED
from train.ablation.grid import CLASS, COLUMNS, SWEPT, Ablation

Results = Mapping[str, Mapping[str, Any]]
"""Folder of a run to its `result.json`; runs that did not end are missing."""

Key = tuple[str, ...]
"""A line of the table: the label of each thing that varies."""


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
        parts = [self.mean] if self.std is None else [self.mean, self.std]
        return " ± ".join(f"{scale * part:.{digits}f}" for part in parts)


Summary = dict[Key, Statistic | None]
"""The statistic of each line of the table, None where no run has finished."""


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


@dataclass(frozen=True)
class Findings:
    """All that was found.

    Attributes:
        axes: names of what the trainings vary.
        names: these, and `SWEPT` where the EM iterations of evaluation vary.
        keys: the lines of the table, in the order of the grid.
        classes: the columns of the classes, in the order of the data set.
        lines: of each run that ended, and each number of iterations it was seen at:
            its values by their names.
    """

    axes: tuple[str, ...]
    names: tuple[str, ...]
    keys: tuple[Key, ...]
    classes: tuple[str, ...]
    lines: list[dict[str, Any]]


def find(ablation: Ablation, results: Results) -> Findings:
    """Join the points of the grid and what their runs have left."""
    names = (*ablation.axes, *([SWEPT] if ablation.eval_iters else []))
    keys, classes = dict[Key, None](), dict[str, None]()
    lines: list[dict[str, Any]] = []
    for run in ablation.runs:
        labels = tuple(run.point.values())
        swept = [(*labels, str(iters)) for iters in ablation.eval_iters]
        keys |= dict.fromkeys(swept or [labels])
        result = results.get(run.folder, {"scores": []})
        for scores in result.get("scores", [{}]):
            iou = {CLASS + name: value for name, value in scores.get("iou", {}).items()}
            classes |= dict.fromkeys(iou)
            known = {"seed": run.seed, SWEPT: str(scores.get("eval_iters"))}
            lines.append({**result, **scores, **iou, **run.point, **known})
    return Findings(ablation.axes, names, tuple(keys), tuple(classes), lines)


def as_csv(found: Findings) -> str:
    """The lines as CSV, in the order of the runs."""
    text = io.StringIO()
    columns = [*found.axes, *COLUMNS, *found.classes]
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(found.lines)
    return text.getvalue()


def by_seed(
    found: Findings, field: str, names: Sequence[str]
) -> dict[Key, dict[int, float]]:
    """A column of what finished: for each line over `names`, its value at each seed."""
    values: dict[Key, dict[int, float]] = {key[: len(names)]: {} for key in found.keys}
    for line in found.lines:
        if line["status"] == FINISHED and line.get(field) is not None:
            values[tuple(line[name] for name in names)][line["seed"]] = line[field]
    return values


def summarize(found: Findings, field: str, swept: bool = True) -> Summary:
    """The statistic over the seeds of a column, for each line of the table.

    Args:
        found: by the runs.
        field: name of the column.
        swept: False for a line a training, however often it was evaluated.
    """
    values = by_seed(found, field, found.names if swept else found.axes)
    return {key: statistic([*seeds.values()]) for key, seeds in values.items()}


def compare(found: Findings, field: str) -> Summary:
    """How much each line of the table is above the first, over the seeds of both.

    A seed gives all points the same crops in the same order, so that a difference
    within a seed varies less than the values do.
    """
    values = by_seed(found, field, found.names)
    first = next(iter(values.values()))
    return {
        key: statistic([seeds[seed] - first[seed] for seed in seeds if seed in first])
        for key, seeds in values.items()
    }


def most(summary: Summary) -> int:
    """The largest n of a line."""
    return max((value.n for value in summary.values() if value), default=0)


def fewer(n: int, most: int) -> str:
    """A mark for what has fewer seeds than others.

    Example:
        >>> fewer(1, most=3), fewer(3, most=3), fewer(0, most=3)
        (' (n=1)', '', '')
    """
    return f" (n={n})" if 0 < n < most else ""


def sides(summary: Summary) -> tuple[list[str], list[str]]:
    """The rows and the columns of a summary over two things.

    Example:
        >>> sides({("a", "1"): None, ("a", "2"): None})
        (['a'], ['1', '2'])
    """
    rows, columns = (list(dict.fromkeys(side)) for side in zip(*summary, strict=True))
    return rows, columns


def cell(summary: Summary, row: str, column: str) -> str:
    """A cell in percent, with its n where that is not the largest."""
    value = summary[row, column]
    return value.percent() + fewer(value.n, most(summary)) if value else "–"
