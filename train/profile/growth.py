"""How the cost of each context module grows with the number of pixels."""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from ema_jax import EMAU
from ema_jax.context import CONTEXTS, NonLocal
from train.memory import attempt
from train.profile.macs import multiply_adds
from train.profile.programs import (
    Program,
    forward_program,
    latencies,
    latency_cells,
    memory_cell,
)
from train.profile.table import Column, Row, Value

log = logging.getLogger("ema_jax")

QUERY_CHUNK = 512
"""Tokens that non-local attends from at a time, about: the N² weights never exist at
once. Of 64, 128, … 2048 and all at once this was the fastest on a CPU."""

COSTS = ("multiply_adds", "memory", "latency_median")

GROWTH = (
    Column("module", "module"),
    Column("side", "side", 1, 0),
    Column("pixels", "pixels", 1, 0),
    Column("multiply_adds", "GMAC", 1e9),
    Column("memory", "peak MiB", 2**20, 1),
    Column("latency_median", "ms", 1e-3),
    Column("latency_lower", "25 %", 1e-3),
    Column("latency_upper", "75 %", 1e-3),
)
SLOPES = (
    Column("module", "module"),
    Column("multiply_adds", "multiply-adds"),
    Column("memory", "peak memory"),
    Column("latency_median", "time"),
)
NOTES = """\
One module alone, forward, on features of side × side pixels. Slopes: of the logarithm
of the cost over that of the number of pixels, by least squares: 1 is linear, 2 is
quadratic."""


class Settings(NamedTuple):
    """What is measured, and how; see `main.py profile --help`."""

    device: jax.Device
    sides: tuple[int, ...] = (33, 65, 129, 257)
    channels: int = 512
    dtype: DTypeLike = jnp.float32
    memory: bool = True
    runs: int = 10

    def __str__(self) -> str:
        return (
            f"{self.channels} channels, {jnp.dtype(self.dtype).name}, "
            f"{self.device.device_kind}, jax {jax.__version__}"
        )


def context_modules(pixels: int, dtype: DTypeLike) -> dict[str, nn.Module]:
    """Every module that may stand in a `ContextHead`; non-local in each of its ways."""
    chunk = -(-pixels // -(-pixels // QUERY_CHUNK))  # hardly any padding
    modules: dict[str, nn.Module] = {"em": EMAU(dtype=dtype)}
    modules |= {name: make(dtype=dtype) for name, make in CONTEXTS.items()}
    modules["non_local"] = NonLocal(query_chunk=chunk, dtype=dtype)
    modules["non_local, all at once"] = NonLocal(dtype=dtype)
    modules["non_local, dot product"] = NonLocal(mode="dot_product", dtype=dtype)
    return modules


def measure(settings: Settings) -> list[dict[str, Value]]:
    """One row for each module and side: multiply-adds, memory and latency."""
    rows: list[dict[str, Value]] = []
    for side in settings.sides:
        programs = {}
        here = {}
        for name, module in context_modules(side**2, settings.dtype).items():
            log.info("%s, %d × %d", name, side, side)
            row: dict[str, Value] = {"module": name, "side": side, "pixels": side**2}
            costs, program = _costs(module, side, settings)
            here[name] = row | costs
            if program is not None:
                programs[name] = program
        if settings.memory and settings.runs:
            found = latencies(programs, settings.runs, settings.device)
            for name in here:
                here[name] |= latency_cells(found.get(name))
        rows += here.values()
    return rows


def _costs(
    module: nn.Module, side: int, settings: Settings
) -> tuple[dict[str, Value], Program | None]:
    """Multiply-adds and memory of a module, and its program if that was compiled."""
    shape = (1, side, side, settings.channels)
    features = jax.ShapeDtypeStruct(shape, settings.dtype)

    def init() -> Any:
        zeros = jnp.zeros(shape, settings.dtype)
        return module.init(jax.random.key(0), zeros, train=False)

    def forward(variables: Any, features: Any) -> Any:
        return module.apply(variables, features, train=False)

    variables = jax.eval_shape(init)
    costs: dict[str, Value] = {
        "multiply_adds": multiply_adds(forward, variables, features)
    }
    if not settings.memory:
        return costs, None
    program = attempt(forward_program, module, variables, features, settings.device)
    return costs | {"memory": memory_cell(program)}, program


def slopes(rows: Sequence[Row]) -> list[dict[str, Value]]:
    """Log-log slope of each cost over the pixels, one row for each module.

    Example:
        >>> rows = [{"module": "a", "pixels": n, "memory": n**2} for n in (4, 16, 64)]
        >>> round(slopes(rows)[0]["memory"], 3)
        2.0
    """
    found = []
    for name in dict.fromkeys(row["module"] for row in rows):
        row: dict[str, Value] = {"module": name}
        for cost in COSTS:
            points = series(rows, name, cost)
            if len(points) > 1:
                pixels, values = np.log(points).T
                row[cost] = float(np.polyfit(pixels, values, 1)[0])
        found.append(row)
    return found


def series(rows: Sequence[Row], module: Value, cost: str) -> list[tuple[float, float]]:
    """(pixels, cost) of a module, where it was measured and is not zero."""
    return [
        (float(row["pixels"] or 0), float(value))
        for row in rows
        if row["module"] == module
        and isinstance(value := row.get(cost), int | float)
        and value > 0
    ]
