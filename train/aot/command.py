"""`main.py aot`: a training compiled for a TPU slice, and what it would cost there."""

import logging
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from train.aot.breakdown import break_down
from train.aot.collectives import collectives, tally
from train.aot.compile import (
    DoesNotFitError,
    compile_step,
    least_bytes,
    slice_devices,
)
from train.aot.hlo import parse
from train.aot.report import (
    NOTES,
    Chip,
    by_part,
    exchanged,
    find_chip,
    measured,
    tables,
)
from train.configuration.config import config_name, load_config
from train.configuration.limits import check_limits
from train.data import DATASETS, cityscapes, pascal_context, shapes, voc
from train.data.relabel import read_table
from train.devices.mesh import DeviceMesh, make_mesh
from train.profile.command import whole
from train.profile.output import Table, Value, show
from train.user.errors import UserError
from train.user.folders import writable_folder
from train.user.names import nearest

UNKNOWN = 21
"""Taken where the files of the set would say it: as many as PASCAL VOC."""

CLASSES = {
    "ade20k": len(read_table("ade20k").names),
    "cityscapes": len(cityscapes.CLASS_NAMES),
    "coco_voc": len(voc.CLASS_NAMES),
    "cocostuff10k": len(read_table("cocostuff10k").names),
    "pascal_context": len(pascal_context.CLASS_NAMES),
    "shapes": len(shapes.CLASS_NAMES),
    "voc2012": len(voc.CLASS_NAMES),
    "voc2012aug": len(voc.CLASS_NAMES),
}
"""By name in `train.data.DATASETS`; "folder" is anyone's own."""

log = logging.getLogger("ema_jax")


def num_classes(name: str) -> int:
    """Classes of a data set, `UNKNOWN` where only its files know.

    Raises:
        UserError: there is no such data set.

    Example:
        >>> num_classes("voc2012aug"), num_classes("cityscapes")
        (21, 19)
    """
    if name not in DATASETS:
        raise UserError(
            f"config.data.name={name!r} is unknown; {nearest(name, DATASETS)}"
        )
    return CLASSES.get(name, UNKNOWN)


def aot(options: Any, overrides: Sequence[str]) -> None:
    """Print what the training step of a config needs of a TPU slice.

    Args:
        options: what `main.py aot --help` lists; None where it was not given.
        overrides: `--config.section.field=value` each.

    Raises:
        UserError: a mistake in options or config, no libtpu, or a file that cannot be
            written.
    """
    config = load_config(options.config, overrides)
    check_limits(config)
    known = num_classes(config.data.name)
    classes = whole("num_classes", options.num_classes, known)
    per_chip = whole("batch_per_chip", options.batch_per_chip, 0)
    folder = None
    if options.output is not None:
        folder = writable_folder("output", Path(options.output))
    hlo = None if options.hlo is None else _file("hlo", Path(options.hlo))
    mesh = make_mesh(slice_devices(options.topology), space=config.mesh.space)
    if per_chip:
        config.batch_size = per_chip * mesh.shape["data"]
    name, chip = config_name(options.config), find_chip(options.topology)
    title = describe(name, options.topology, config, classes, mesh)
    log.info("compiling %s; this can take minutes", title)
    row: dict[str, Value] = {
        "config": name,
        "topology": options.topology,
        "chips": mesh.size,
        "images": config.batch_size,
        "hbm": None if chip is None else chip.memory,
    }
    shown, notes = costs(config, classes, mesh, chip, hlo, row)
    file = f"{name}_{options.topology.replace(':', '_')}"
    show(title, shown, notes, folder, file, [row])


def costs(
    config: ConfigDict,
    classes: int,
    mesh: DeviceMesh,
    chip: Chip | None,
    hlo: Path | None,
    row: dict[str, Value],
) -> tuple[list[Table], list[str]]:
    """Tables of the training step, and what to say of them.

    Its cells go to `row`, and the text of the program to the file `hlo`.
    """
    try:
        compiled = compile_step(config, classes, mesh)
    except DoesNotFitError as error:
        row["fits"] = "no"
        return tables(row, {}, None, {}), [f"does not fit: {error}"]
    text = compiled.as_text() or ""
    if hlo is not None:
        hlo.write_text(text)
    program = parse(text)
    found, moved = tally(collectives(program)), break_down(program)
    least = least_bytes(config, classes, mesh)
    row |= measured(compiled, chip, moved)
    row |= exchanged(found) | by_part(moved, least)
    notes = [NOTES]
    if row["fits"] == "no":
        notes = ["does not fit: the compiler placed it, but the chip has less", NOTES]
    return tables(row, found, moved, least), notes


def describe(
    name: str, topology: str, config: ConfigDict, classes: int, mesh: DeviceMesh
) -> str:
    """What is compiled, and by which versions."""
    height, width = config.data.crop_size
    devices = mesh.shape["data"]
    return (
        f"{name} on {topology}: {mesh.size} chips, {config.batch_size} images of "
        f"{height} × {width} ({config.batch_size / devices:g} on each of {devices}), "
        f"{config.model.dtype}, {classes} classes, jax {jax.__version__}, "
        f"libtpu {_libtpu_version()}"
    )


def _libtpu_version() -> str:
    try:
        return metadata.version("libtpu")
    except metadata.PackageNotFoundError:  # given by its path
        return "of unknown version"


def _file(option: str, path: Path) -> Path:
    """A file that can be written, before anything long begins."""
    if path.is_dir():
        raise UserError(f"--{option}={path} is a folder; give a file")
    writable_folder(option, path.parent)
    return path
