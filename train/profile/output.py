"""Options that are numbers, and tables that are printed and written."""

from collections.abc import Collection, Sequence
from pathlib import Path

from train.profile.table import Column, Row, comma_separated, markdown, text
from train.user.errors import UserError
from train.user.folders import not_written
from train.user.names import nearest

Table = tuple[Sequence[Column], Sequence[Row]]


LARGEST = 16_384
"""What any number may be: beyond, the matrices that resize an image fill the memory."""


def whole(name: str, value: str | None, default: int, most: int = LARGEST) -> int:
    """A whole number from one to `most`; the default where it was not given.

    Raises:
        UserError: another value, by the name of its option.
    """
    if value is None:
        return default
    digits = value.strip().lstrip("0")
    if not digits.isdecimal() or len(digits) > len(str(most)) or int(digits) > most:
        raise UserError(f"--{name}={value}: give a whole number from 1 to {most}")
    return int(digits)


def choose(
    names: str | None, known: Collection[str], default: Sequence[str]
) -> list[str]:
    """The names of `--models`, a list with commas; the default where it was not given.

    Raises:
        UserError: an unknown name.

    Example:
        >>> choose("psa, em,psa", ("em", "psa"), ())
        ['psa', 'em']
    """
    if names is None:
        return list(default)
    found = [name.strip() for name in names.split(",")]
    for name in found:
        if name not in known:
            raise UserError(f"--models: {name!r} is unknown; {nearest(name, known)}")
    return list(dict.fromkeys(found))


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
    printed = "\n\n".join([title, *(text(*table) for table in tables), *notes])
    print(printed)
    if folder is None:
        return
    page = "\n\n".join([title, *(markdown(*table) for table in tables), *notes])
    contents = {"txt": printed + "\n", "md": page + "\n", "csv": comma_separated(rows)}
    try:
        for suffix, content in contents.items():
            (folder / f"{name}.{suffix}").write_text(content)
    except OSError as error:
        raise not_written("output", folder, error) from error
    print(f"\nwritten to {folder}")
