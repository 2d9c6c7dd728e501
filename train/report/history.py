"""The figures of a training, over all its starts."""

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from etils import epath

from train.user.files import is_remote, write_whole
from train.user.folders import writing

NAME = "metrics.jsonl"
SECONDS, STARTED = "seconds", "started"

in_workdir = partial(
    writing,
    "workdir",
    full="make room, and the same command goes on from the last checkpoint",
)
"""`writing` of what a training leaves, by its path."""

Row = Mapping[str, Any]
"""A step, the seconds of training up to it, and figures by name."""


class History:
    """What a training reports, a line of JSON each: `metrics.jsonl` in its workdir.

    A line has `step`, `seconds`, the time that the training took up to it over all its
    starts, and figures by their names in TensorBoard; null where one is not defined.
    The first line of each start has `started`, the time of day.

    A training that goes on keeps the lines up to its checkpoint; steps that are made
    again leave no second line.

    Attributes:
        rows: the lines.
    """

    def __init__(self, workdir: str, first_step: int):
        """Go on at `first_step`.

        Raises:
            UserError: the file cannot be read or written.
        """
        self._path = epath.Path(workdir) / NAME
        self._first_step = first_step
        self._started: str | None = datetime.now(UTC).isoformat(timespec="seconds")
        self._since = time.monotonic()
        lines = self._read().split("\n")
        cut_off = lines.pop()  # nothing, where the last line is whole
        self.rows: list[Row] = kept(map(_parsed, lines), first_step)
        self._base = self.rows[-1][SECONDS] if self.rows else 0.0
        if cut_off or len(self.rows) < len(lines):
            self._rewrite()

    def _read(self) -> str:
        with in_workdir(self._path):
            if not self._path.exists():
                return ""
            return self._path.read_bytes().decode(errors="replace")

    def seconds(self) -> float:
        """That the training took so far."""
        return round(self._base + time.monotonic() - self._since, 1)

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Write the figures of a step, on disk when this returns.

        Raises:
            UserError: they cannot be written.
        """
        if self._started is not None:
            start = {"step": self._first_step, SECONDS: self._base}
            self._append({**start, STARTED: self._started})
            self._started = None
        told = {name: _told(value) for name, value in figures.items()}
        self._append({"step": step, SECONDS: self.seconds(), **told})

    def _append(self, row: Row) -> None:
        self.rows.append(row)
        if is_remote(self._path):  # object storage cannot append
            return self._rewrite()
        with in_workdir(self._path), self._path.open("a") as file:
            file.write(_line(row))

    def _rewrite(self) -> None:
        with in_workdir(self._path):
            write_whole(self._path, "".join(map(_line, self.rows)))


def kept(rows: Iterable[Row | None], first_step: int) -> list[Row]:
    """The rows that a training keeps which goes on at `first_step`.

    Those of later steps are made again, and so are those of a start from that step. A
    line that was cut off, None, is left out.

    Example:
        >>> rows = [{"step": 5, "a": 1}, {"step": 5, "started": "…"}, {"step": 6}, None]
        >>> kept(rows, first_step=5)
        [{'step': 5, 'a': 1}]
    """
    return [
        row
        for row in rows
        if row is not None
        and row["step"] <= first_step
        and not (STARTED in row and row["step"] == first_step)
    ]


def series(rows: Sequence[Row], name: str) -> list[tuple[float, float]]:
    """Step and value of each row that has a figure.

    Example:
        >>> series([{"step": 1, "a": 0.5}, {"step": 2, "a": None}, {"step": 3}], "a")
        [(1, 0.5)]
    """
    return [(row["step"], row[name]) for row in rows if _is_number(row.get(name))]


def _told(value: float) -> float | None:
    """A figure with the digits that float32 has; None where it is not defined."""
    return float(f"{value:.8g}") if math.isfinite(value) else None


def _line(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _parsed(line: str) -> Row | None:
    """A row; None of what is none, such as a line that was cut off."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    if not isinstance(row, dict):
        return None
    numbers = (row.get("step"), row.get(SECONDS))
    return row if all(map(_is_number, numbers)) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
