"""How the cost of each context module grows with the number of pixels."""

import logging
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from train.devices.memory import attempt
from train.profile.macs import multiply_adds
from train.profile.modules import context_modules, inputs_of, kind
from train.profile.output import Column, Row, Value
from train.profile.programs import (
    Settings,
    abstract_variables,
    forward_program,
    latency_cells,
    memory_cell,
)

log = logging.getLogger("ema_jax")

COSTS = {
    "multiply_adds": ("multiply-adds (G)", 1e9),
    "memory": ("peak memory (MiB)", 2**20),
    "latency_median": ("time (ms)", 1e-3),
}
"""Columns of a slope, and their label and unit in the plot."""

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
One module alone, forward, on features of side × side pixels; deeplabv3, deeplabv3plus
and psa are whole heads, up to the logits of 21 classes. Slopes: of the logarithm of the
cost over that of the number of pixels, by least squares: 1 is linear, 2 quadratic."""


def measure(
    kinds: Collection[str], sides: Sequence[int], channels: int, settings: Settings
) -> list[dict[str, Value]]:
    """One row for each side and module: multiply-adds, memory and latency.

    Args:
        kinds: of modules, of `modules.KINDS`.
        sides: heights and widths of the features.
        channels: of the features.
        settings: where and how.
    """
    rows: list[dict[str, Value]] = []
    dtype, device = settings.dtype, settings.device
    for side in sides:
        here, programs = {}, {}
        for name, module in context_modules(side, dtype, device).items():
            if kind(name) not in kinds:
                continue
            log.info("%s, %d × %d", name, side, side)
            row: dict[str, Value] = {"module": name, "side": side, "pixels": side**2}
            inputs = inputs_of(module, side, channels, dtype)
            try:
                variables = abstract_variables(module, inputs)
                forward = partial(module.apply, train=False)
                row["multiply_adds"] = multiply_adds(forward, variables, inputs)
                if settings.memory:
                    programs[name] = attempt(forward_program, module, inputs, device)
                    row["memory"] = memory_cell(programs[name])
            except NotImplementedError as error:  # a fused kernel takes some sizes only
                log.warning("%s is left out: %s", name, error)
                continue
            here[name] = row
        for name, cells in latency_cells(programs, settings).items():
            here[name] |= cells
        rows += here.values()
    return rows


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
            if len(dict(points)) > 1:  # one size has no slope, however often
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


def save_plot(rows: Sequence[Row], path: Path) -> None:
    """One panel for each measured cost, axes logarithmic, a line for each module."""
    from matplotlib.figure import Figure  # slow, and no other command needs it

    modules = list(dict.fromkeys(row["module"] for row in rows))
    lines = {cost: {m: series(rows, m, cost) for m in modules} for cost in COSTS}
    sides = {row["pixels"]: row["side"] for row in rows}
    measured = [cost for cost in COSTS if any(lines[cost].values())]
    figure = Figure(figsize=(4.2 * len(measured), 4.5), layout="constrained")
    panels = figure.subplots(1, len(measured), squeeze=False)[0]
    for panel, cost in zip(panels, measured, strict=True):
        label, unit = COSTS[cost]
        for index, (module, points) in enumerate(lines[cost].items()):
            panel.plot(
                [pixels for pixels, _ in points],
                [value / unit for _, value in points],
                marker="o",
                color=f"C{index}",
                linewidth=2.5 if index == 0 else 1.2,
                label=module,
            )
        panel.set(xscale="log", yscale="log", xlabel="pixels", ylabel=label)
        panel.set_xticks(list(sides), [f"{side}²" for side in sides.values()])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    figure.savefig(path, dpi=120, bbox_inches="tight")
