"""`main.py profile`: tables of costs, printed and written."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from train.model.build import DTYPES
from train.profile import growth, networks
from train.profile.growth import save_plot
from train.profile.modules import find_kinds
from train.profile.output import Table, show, whole
from train.profile.programs import find_device
from train.user.errors import UserError
from train.user.folders import not_written, writable_folder
from train.user.names import nearest

MEASURES = ("all", "memory", "nothing")
STRIDES = ("8", "16", "32")
OF_NETWORKS = ("size", "batch", "output_stride")
OF_GROWTH = ("sides", "channels")

DEFAULT_SIDES = "33,65,129,257"
LARGEST_SIDE = 2048
"""Features at output stride 8 of the largest image."""


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
    runs = whole("runs", options.runs, 10)
    common = {
        "device": find_device(options.device),
        "dtype": dtype,
        "memory": measure != "nothing",
        "runs": runs if measure == "all" else 0,
    }
    folder = _folder(options.output)
    if options.growth:
        _growth(options, common, folder)
    else:
        _networks(options, common, folder)


def _networks(options: Any, common: dict[str, Any], folder: Path | None) -> None:
    settings = networks.Settings(
        size=whole("size", options.size, 513),
        batch=whole("batch", options.batch, 1),
        output_stride=int(_choice("output_stride", options.output_stride, STRIDES)),
        **common,
    )
    rows = networks.profile(networks.find_models(options.models), settings)
    tables: list[Table] = [(networks.COUNTED, rows)]
    if settings.memory:
        tables.append((networks.MEASURED, rows))
    show(str(settings), tables, [networks.NOTES], folder, "networks", rows)


def _growth(options: Any, common: dict[str, Any], folder: Path | None) -> None:
    sides = (DEFAULT_SIDES if options.sides is None else options.sides).split(",")
    settings = growth.Settings(
        sides=tuple(dict.fromkeys(whole("sides", s, 0, LARGEST_SIDE) for s in sides)),
        channels=whole("channels", options.channels, 512),
        kinds=find_kinds(options.models),
        **common,
    )
    rows = growth.measure(settings)
    tables: list[Table] = [(growth.GROWTH, rows), (growth.SLOPES, growth.slopes(rows))]
    show(str(settings), tables, [growth.NOTES], folder, "growth", rows)
    if folder is not None:
        path = folder / "growth.png"
        try:
            save_plot(rows, path)
        except OSError as error:
            raise not_written("output", path, error) from error


def _folder(name: str | None) -> Path | None:
    """The folder of the option, None where there is none."""
    if name is None:
        return None
    if not name:
        raise UserError("--output=: give a folder, . for this one")
    return writable_folder("output", Path(name))


def _choice(name: str, value: str | None, choices: Sequence[str]) -> str:
    """One of the choices, of which the first is the default."""
    if value is not None and value not in choices:
        raise UserError(f"--{name}={value} is unknown; {nearest(value, choices)}")
    return value or choices[0]
