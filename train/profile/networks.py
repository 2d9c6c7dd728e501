"""The cost table of whole networks."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from ema_jax import MODELS, Segmenter
from ema_jax.segmenter import init_variables
from train.devices.memory import attempt
from train.profile.counts import Split, count
from train.profile.modules import NUM_CLASSES
from train.profile.output import Column, Value, choose
from train.profile.programs import (
    Program,
    forward_program,
    latencies,
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


class Settings(NamedTuple):
    """What is measured beside the counts, and how; see `main.py profile --help`."""

    device: jax.Device
    size: int = 513
    batch: int = 1
    output_stride: int = 8
    dtype: DTypeLike = jnp.float32
    memory: bool = True
    runs: int = 10

    def __str__(self) -> str:
        return (
            f"{self.batch} × {self.size} × {self.size} pixels, output stride "
            f"{self.output_stride}, {jnp.dtype(self.dtype).name}, "
            f"{self.device.device_kind}, jax {jax.__version__}"
        )


def find_models(names: str | None) -> list[str]:
    """The models of `--models`, by default those with ResNet-101; see `choose`."""
    return choose(names, MODELS, DEFAULT)


def profile(names: Sequence[str], settings: Settings) -> list[dict[str, Value]]:
    """One row for each model: counted costs, memory and latency."""
    rows: dict[str, dict[str, Value]] = {}
    programs = {}
    for name in names:
        log.info("%s: counting%s", name, " and compiling" * settings.memory)
        model = MODELS[name](
            num_classes=NUM_CLASSES,
            output_stride=settings.output_stride,
            dtype=settings.dtype,
        )
        rows[name] = {"model": name, **_counted(model, settings)}
        if settings.memory:
            forward = attempt(_compile_forward, model, settings)
            training = attempt(
                training_program, model, settings.size, settings.batch, settings.device
            )
            rows[name]["memory_forward"] = memory_cell(forward)
            rows[name]["memory_training"] = memory_cell(training)
            if forward is not None:
                programs[name] = forward
    if settings.memory and settings.runs:
        found = latencies(programs, settings.runs, settings.device)
        for name in programs:
            rows[name] |= latency_cells(found.get(name))
    return list(rows.values())


def _counted(model: Segmenter, settings: Settings) -> dict[str, Value]:
    """The columns of `Counts`, each part by its name."""
    row: dict[str, Value] = {}
    counts = count(model, settings.size, settings.batch)
    for field, value in counts._asdict().items():
        if isinstance(value, Split):
            row |= {f"{field}_{part}": v for part, v in value._asdict().items()}
            row[f"{field}_total"] = value.total
        else:
            row[field] = value
    return row


def _compile_forward(model: Segmenter, settings: Settings) -> Program:
    shape = (settings.batch, settings.size, settings.size, 3)
    return forward_program(
        model,
        jax.eval_shape(lambda: init_variables(model, 0)),
        jax.ShapeDtypeStruct(shape, jnp.float32),
        settings.device,
    )
