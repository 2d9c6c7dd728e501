"""`main.py profile`: tables of costs, printed and written."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from train.errors import UserError
from train.model import DTYPES
from train.names import nearest
from train.profile import growth, networks
from train.profile.plot import save_plot
from train.profile.programs import find_device
from train.profile.table import Column, Row, comma_separated, markdown, text

MEASURES = ("all", "memory", "nothing")
STRIDES = ("8", "16", "32")
OF_NETWORKS = ("models", "size", "batch", "output_stride")
OF_GROWTH = ("sides", "channels")

Tables = Sequence[tuple[Sequence[Column], Sequence[Row]]]


def profile(options: Any) -> None:
    """Print what networks cost, or with `growth` the context modules.

    Args:
        options: what `main.py profile --help` lists; None where it was not given.

    Raises:
        UserError: an impossible option, or an output that cannot be written.
    """
    for name in OF_NETWORKS if options.growth else OF_GROWTH:
        if getattr(options, name) is not None:
            other = "is no option of" if options.growth else "goes with"
            raise UserError(f"--{name} {other} --growth; see profile --help")
    measure = _choice("measure", options.measure, MEASURES)
    dtype = DTYPES[_choice("dtype", options.dtype, list(DTYPES))]
    runs = _whole("runs", options.runs, 10)
    common = {
        "device": find_device(options.device),
        "dtype": dtype,
        "memory": measure != "nothing",
        "runs": runs if measure == "all" else 0,
    }
    folder = None if options.output is None else _make_folder(options.output)
    if options.growth:
        _growth(options, common, folder)
    else:
        _networks(options, common, folder)


def _networks(options: Any, common: dict[str, Any], folder: Path | None) -> None:
    settings = networks.Settings(
        size=_whole("size", options.size, 513),
        batch=_whole("batch", options.batch, 1),
        output_stride=int(_choice("output_stride", options.output_stride, STRIDES)),
        **common,
    )
    rows = networks.profile(networks.find_models(options.models), settings)
    tables: list[tuple[Sequence[Column], Sequence[Row]]] = [(networks.COUNTED, rows)]
    if settings.memory:
        tables.append((networks.MEASURED, rows))
    _show(str(settings), tables, networks.NOTES, folder, "networks")


def _growth(options: Any, common: dict[str, Any], folder: Path | None) -> None:
    sides = str(options.sides or "33,65,129,257").split(",")
    settings = growth.Settings(
        sides=tuple(_whole("sides", side, 0) for side in sides),
        channels=_whole("channels", options.channels, 512),
        **common,
    )
    rows = growth.measure(settings)
    tables = [(growth.GROWTH, rows), (growth.SLOPES, growth.slopes(rows))]
    _show(str(settings), tables, growth.NOTES, folder, "growth")
    if folder is not None:
        save_plot(rows, folder / "growth.png")


def _show(
    title: str, tables: Tables, notes: str, folder: Path | None, name: str
) -> None:
    """Print the tables; write them as text and Markdown, and the first one's rows."""
    printed = "\n\n".join([title, *(text(*table) for table in tables), notes])
    print(printed)
    if folder is None:
        return
    pages = [title, *(markdown(*table) for table in tables), notes]
    contents = {
        "txt": printed + "\n",
        "md": "\n\n".join(pages) + "\n",
        "csv": comma_separated(tables[0][1]),
    }
    for suffix, content in contents.items():
        (folder / f"{name}.{suffix}").write_text(content)
    print(f"\nwritten to {folder}")


def _make_folder(path: str) -> Path:
    """The folder, which can be written, before anything long begins."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output={path}: no folder ({error.strerror})") from error
    return folder


def _choice(name: str, value: str | None, choices: Sequence[str]) -> str:
    """One of the choices, of which the first is the default."""
    if value is not None and value not in choices:
        raise UserError(f"--{name}={value} is unknown; {nearest(value, choices)}")
    return value or choices[0]


def _whole(name: str, value: str | None, default: int) -> int:
    """A whole number of at least one."""
    if value is None:
        return default
    if not value.strip().isdecimal() or int(value) < 1:
        raise UserError(f"--{name}={value}: give a whole number of at least 1")
    return int(value)
