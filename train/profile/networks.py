"""The cost table of whole networks."""

import logging
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from ema_jax import MODELS, Segmenter
from train.devices.memory import attempt
from train.profile.counts import Split, count
from train.profile.modules import NUM_CLASSES
from train.profile.output import Column, Value
from train.profile.programs import (
    Settings,
    forward_program,
    latency_cells,
    memory_cell,
    training_program,
)

log = logging.getLogger("ema_jax")

DEFAULT = [name for name in MODELS if "_r101" in name and "mmseg" not in name]

COUNTED = (
    Column("model", "model"),
    Column("parameters_backbone", "params M", 1e6),
    Column("parameters_increment", "+", 1e6),
    Column("parameters_classifier", "classifier", 1e6),
    Column("parameters_total", "total", 1e6),
    Column("multiply_adds_backbone", "GMAC", 1e9, 1),
    Column("multiply_adds_increment", "+", 1e9, 1),
    Column("multiply_adds_classifier", "classifier", 1e9, 1),
    Column("multiply_adds_total", "total", 1e9, 1),
    Column("resizing", "resizing", 1e9, 1),
    Column("outputs_backbone", "outputs MiB", 2**20, 1),
    Column("outputs_increment", "+", 2**20, 1),
    Column("outputs_classifier", "classifier", 2**20, 1),
)
MEASURED = (
    Column("model", "model"),
    Column("memory_forward", "forward MiB", 2**20, 1),
    Column("memory_training", "training MiB", 2**20, 1),
    Column("latency_median", "forward ms", 1e-3, 1),
    Column("latency_lower", "25 %", 1e-3, 1),
    Column("latency_upper", "75 %", 1e-3, 1),
)
NOTES = """\
params, GMAC: parameters and multiply-adds of the backbone, + what the network adds to
it, and the rest up to the classes; resizing: multiply-adds of bilinear resizing, which
are in no total. outputs: of all modules of a forward pass. forward, training: peak
memory of the compiled programs; training is one update with its gradients."""


def profile(
    names: Sequence[str], size: int, batch: int, output_stride: int, settings: Settings
) -> list[dict[str, Value]]:
    """One row for each model: counted costs, memory and latency."""
    images = jax.ShapeDtypeStruct((batch, size, size, 3), jnp.float32)
    device = settings.device
    rows: dict[str, dict[str, Value]] = {}
    programs = {}
    for name in names:
        log.info("%s: counting%s", name, " and compiling" * settings.memory)
        model = MODELS[name](
            num_classes=NUM_CLASSES, output_stride=output_stride, dtype=settings.dtype
        )
        rows[name] = row = {"model": name, **counted(model, size, batch)}
        if not settings.memory:
            continue
        forward = attempt(forward_program, model, images, device)
        training = attempt(training_program, model, size, batch, device)
        row["memory_forward"] = memory_cell(forward)
        row["memory_training"] = memory_cell(training)
        if forward is not None:
            programs[name] = forward
    for name, cells in latency_cells(programs, settings).items():
        rows[name] |= cells
    return list(rows.values())


def counted(model: Segmenter, size: int, batch: int) -> dict[str, Value]:
    """The columns of `Counts`, each part by its name."""
    row: dict[str, Value] = {}
    for field, value in count(model, size, batch)._asdict().items():
        if isinstance(value, Split):
            parts = {**value._asdict(), "total": value.total}
            row |= {f"{field}_{part}": v for part, v in parts.items()}
        else:
            row[field] = value
    return row
