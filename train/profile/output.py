"""Tables of costs, printed and written."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from train.user.folders import writing

Value = int | float | str | None
Row = Mapping[str, Value]


class Column(NamedTuple):
    """One column: which value, under which title, in which unit.

    Attributes:
        key: of the rows; the name of the column in CSV, where values are whole.
        title: of the column elsewhere.
        unit: what a value is divided by elsewhere.
        decimals: that are shown elsewhere.
    """

    key: str
    title: str
    unit: float = 1
    decimals: int = 2


Table = tuple[Sequence[Column], Sequence[Row]]


def text(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """Aligned columns; a value that was not measured is "–".

    Example:
        >>> columns = [Column("name", "net"), Column("cost", "GMAC", 1e9, 1)]
        >>> print(text(columns, [{"name": "a", "cost": 12e9}, {"name": "b"}]))
        net  GMAC
        a    12.0
        b       –
    """
    cells = _cells(columns, rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    )


def markdown(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """A table of Markdown.

    Example:
        >>> print(markdown([Column("name", "net"), Column("n", "n")], [{"name": "a"}]))
        | net | n |
        |---|---:|
        | a | – |
    """
    head, *body = ("| " + " | ".join(line) + " |" for line in _cells(columns, rows))
    return "\n".join([head, "|---|" + "---:|" * (len(columns) - 1), *body])


def comma_separated(rows: Sequence[Row]) -> str:
    """CSV of all values in full, one line for each row, under the keys.

    Example:
        >>> comma_separated([{"name": "a", "cost": 12.5}, {"name": "b", "cost": None}])
        'name,cost\\na,12.5\\nb,\\n'
    """
    keys = list(dict.fromkeys(key for row in rows for key in row))
    file = io.StringIO()
    writer = csv.DictWriter(file, keys, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _cells(columns: Sequence[Column], rows: Sequence[Row]) -> list[list[str]]:
    """The titles, then the values as they are shown."""
    titles = [column.title for column in columns]
    return [titles, *([_show(c, row.get(c.key)) for c in columns] for row in rows)]


def _show(column: Column, value: Value) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    return f"{value / column.unit:.{column.decimals}f}"


def show(
    title: str,
    tables: Sequence[Table],
    notes: Sequence[str],
    folder: Path | None,
    name: str,
    rows: Sequence[Row],
) -> None:
    """Print the tables; write them as text and Markdown, and `rows` as CSV.

    Raises:
        UserError: a file cannot be written; the tables are printed by then.
    """

    def page(render: Callable[..., str]) -> str:
        return "\n\n".join([title, *(render(*table) for table in tables), *notes])

    print(page(text))
    if folder is None:
        return
    pages = {"txt": page(text) + "\n", "md": page(markdown) + "\n"}
    with writing("output", folder):
        for suffix, content in (pages | {"csv": comma_separated(rows)}).items():
            (folder / f"{name}.{suffix}").write_text(content)
    print(f"\nwritten to {folder}")
