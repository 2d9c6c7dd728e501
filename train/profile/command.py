"""`main.py profile`: from its options to tables of costs, printed and written."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import jax

from train.model.build import DTYPES
from train.profile import growth, modules, networks
from train.profile.output import Table, show
from train.profile.programs import Settings
from train.user.errors import UserError
from train.user.folders import writable_folder, writing
from train.user.names import nearest

MEASURES = ("all", "memory", "nothing")
STRIDES = ("8", "16", "32")
OF_NETWORKS = ("size", "batch", "output_stride")
OF_GROWTH = ("sides", "channels")

DEFAULT_SIDES = "33,65,129,257"
LARGEST = 16_384
"""What any number may be: beyond, the matrices that resize an image fill the memory."""
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
    measure = one_of("measure", options.measure, MEASURES)
    dtype = DTYPES[one_of("dtype", options.dtype, DTYPES)]
    runs = whole("runs", options.runs, 10)
    settings = Settings(
        find_device(options.device),
        dtype,
        memory=measure != "nothing",
        runs=runs if measure == "all" else 0,
    )
    if options.output == "":
        raise UserError("--output=: give a folder, . for this one")
    folder = options.output and writable_folder("output", Path(options.output))
    if options.growth:
        _growth(options, settings, folder)
    else:
        _networks(options, settings, folder)


def _networks(options: Any, settings: Settings, folder: Path | None) -> None:
    size = whole("size", options.size, 513)
    batch = whole("batch", options.batch, 1)
    stride = int(one_of("output_stride", options.output_stride, STRIDES))
    names = some_of(options.models, networks.MODELS, networks.DEFAULT)
    rows = networks.profile(names, size, batch, stride, settings)
    title = f"{batch} × {size} × {size} pixels, output stride {stride}, {settings}"
    tables: list[Table] = [(networks.COUNTED, rows)]
    if settings.memory:
        tables.append((networks.MEASURED, rows))
    show(title, tables, [networks.NOTES], folder, "networks", rows)


def _growth(options: Any, settings: Settings, folder: Path | None) -> None:
    texts = (DEFAULT_SIDES if options.sides is None else options.sides).split(",")
    sides = list(dict.fromkeys(whole("sides", t, 0, LARGEST_SIDE) for t in texts))
    channels = whole("channels", options.channels, 512)
    kinds = some_of(options.models, modules.KINDS, modules.KINDS)
    rows = growth.measure(kinds, sides, channels, settings)
    tables: list[Table] = [(growth.GROWTH, rows), (growth.SLOPES, growth.slopes(rows))]
    title = f"{channels} channels, {settings}"
    show(title, tables, [growth.NOTES], folder, "growth", rows)
    if folder is not None:
        path = folder / "growth.png"
        with writing("output", path):
            growth.save_plot(rows, path)


def find_device(platform: str | None) -> jax.Device:
    """The first device of a platform, by default of the fastest.

    Raises:
        UserError: there is no such device.
    """
    try:
        if platform == "":  # which jax takes for the default
            raise RuntimeError("no name")
        return jax.devices(platform)[0]
    except RuntimeError as error:
        found = sorted({jax.devices()[0].platform, "cpu"})
        raise UserError(
            f"--device={platform}: jax finds none here; there are: {', '.join(found)}"
        ) from error


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


def one_of(name: str, value: str | None, choices: Collection[str]) -> str:
    """One of the choices, of which the first is the default."""
    if value is not None and value not in choices:
        raise UserError(f"--{name}={value} is unknown; {nearest(value, choices)}")
    return value or next(iter(choices))


def some_of(
    names: str | None, known: Collection[str], default: Collection[str]
) -> list[str]:
    """The names of `--models`, a list with commas; the default where it was not given.

    Raises:
        UserError: an unknown name.

    Example:
        >>> some_of("psa, em,psa", ("em", "psa"), ())
        ['psa', 'em']
    """
    if names is None:
        return list(default)
    found = [name.strip() for name in names.split(",")]
    for name in found:
        if name not in known:
            raise UserError(f"--models: {name!r} is unknown; {nearest(name, known)}")
    return list(dict.fromkeys(found))
