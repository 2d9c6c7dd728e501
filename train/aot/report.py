"""What the compiler says of a training step, and what a chip makes of it, as tables."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from jax.stages import Compiled

from train.aot.collectives import Tally
from train.devices.memory import GIB, peak_memory
from train.profile.output import Column, Row, Table, Value
from train.profile.output import show as write


class Chip(NamedTuple):
    """One chip.

    Attributes:
        memory: bytes of HBM. The compiler keeps some for itself.
        flops: of bfloat16 products, at most, in a second.
        bandwidth: bytes between HBM and the chip in a second, at most.
    """

    memory: int
    flops: float
    bandwidth: float


CHIPS = {
    "v4": Chip(32 * GIB, 275e12, 1200e9),
    "v5e": Chip(16 * GIB, 197e12, 819e9),
    "v5p": Chip(95 * GIB, 459e12, 2765e9),
    "v6e": Chip(32 * GIB, 918e12, 1640e9),
}
"""By the name that a topology begins with.

Reference: cloud.google.com/tpu/docs/v4, /v5e, /v5p and /v6e, "system architecture".
"""


def find_chip(topology: str) -> Chip | None:
    """The chip of a topology; None for one that is not listed.

    Example:
        >>> find_chip("v5e:4x4").memory // GIB
        16
        >>> find_chip("v3:2x2") is None
        True
    """
    return CHIPS.get(topology.partition(":")[0])


class Memory(NamedTuple):
    """Bytes on one chip.

    Attributes:
        arguments: state and batch.
        outputs: those that do not take the place of a donated argument.
        temporaries: of the program, at most at a time.
    """

    arguments: int
    outputs: int
    temporaries: int

    @property
    def total(self) -> int:
        return sum(self)


class Estimate(NamedTuple):
    """How long a program takes, and what says so."""

    seconds: float
    source: str


def memory(compiled: Compiled) -> Memory:
    """What the program needs of each chip, as the compiler laid it out."""
    plan: Any = compiled.memory_analysis()
    arguments, temporaries = plan.argument_size_in_bytes, plan.temp_size_in_bytes
    outputs = peak_memory(compiled) - arguments - temporaries
    return Memory(arguments, outputs, temporaries)


def estimate(costs: Mapping[str, float], chip: Chip | None) -> Estimate | None:
    """How long a program takes at least, on a chip.

    `max(FLOPs / peak, bytes / bandwidth)`, unless the compiler's own figure is there
    and not below that of its FLOPs: it can be negative. None where neither is known.

    Args:
        costs: of `Compiled.cost_analysis`: "flops" and "bytes accessed", where
            "optimal_seconds" may be.
        chip: that it runs on; None: not known.

    Example:
        >>> chip = Chip(memory=0, flops=100.0, bandwidth=10.0)
        >>> estimate({"flops": 200.0, "bytes accessed": 50.0}, chip)
        Estimate(seconds=5.0, source='bytes')
    """
    seconds = costs.get("optimal_seconds", -1.0)
    compute = 0.0 if chip is None else costs["flops"] / chip.flops
    if math.isfinite(seconds) and seconds > 0 and seconds >= compute:
        return Estimate(seconds, "compiler")
    if chip is None:
        return None
    move = costs["bytes accessed"] / chip.bandwidth
    return Estimate(compute, "FLOPs") if compute >= move else Estimate(move, "bytes")


MEMORY = (
    Column("config", "GiB of a chip"),
    Column("arguments", "arguments", GIB),
    Column("outputs", "outputs", GIB),
    Column("temporaries", "temporaries", GIB),
    Column("total", "total", GIB),
    Column("hbm", "HBM", GIB),
    Column("fits", "fits"),
)
WORK = (
    Column("config", "work of a chip"),
    Column("flops", "GFLOP", 1e9, 1),
    Column("bytes", "GB", 1e9, 1),
    Column("seconds", "step ms", 1e-3, 1),
    Column("estimated_by", "by"),
)
COLLECTIVES = (
    Column("kind", "collectives"),
    Column("count", "count", 1, 0),
    Column("size", "MiB", 2**20, 3),
)
NOTES = """\
outputs: those beside the state, which takes the place of the old one. GFLOP, GB: what
the compiler counts, the body of a loop once. step: at least so long, by the compiler's
own estimate, or by FLOPs at the peak in bfloat16, or by bytes at the bandwidth of HBM.
collectives: as written in the program, in a loop once; MiB: of what a chip puts in or
gets out, whichever is more."""


def measured(compiled: Compiled, chip: Chip | None) -> dict[str, Value]:
    """The cells of `MEMORY` and `WORK`; `fits` says by how much, where it does not."""
    needed = memory(compiled)
    costs: Any = compiled.cost_analysis()
    found = estimate(costs, chip)
    row: dict[str, Value] = {**needed._asdict(), "total": needed.total}
    row["fits"] = "yes" if chip is None or needed.total <= chip.memory else "no"
    row |= {"flops": costs["flops"], "bytes": costs["bytes accessed"]}
    if found is not None:
        row |= {"seconds": found.seconds, "estimated_by": found.source}
    return row


def show(
    title: str,
    row: Row,
    found: Mapping[str, Tally],
    remarks: Sequence[str],
    folder: Path | None,
    name: str,
) -> None:
    """Print the tables; write them as text and Markdown, and all figures as CSV.

    Args:
        title: what was compiled.
        row: of `MEMORY` and `WORK`.
        found: collectives by kind; empty where nothing was compiled.
        remarks: what does not fit.
        folder: to write to; None: only print.
        name: of the files.
    """
    tables: list[Table] = [(MEMORY, [row])]
    if found:
        kinds = [{"kind": kind, **asdict(t)} for kind, t in found.items()]
        tables += [(WORK, [row]), (COLLECTIVES, kinds)]
    notes = [*remarks, NOTES] if found else remarks
    write(title, tables, notes, folder, name, [{**row, **_flat(found)}])


def _flat(found: Mapping[str, Tally]) -> dict[str, Value]:
    """Cells such as "all_reduce_count"."""
    return {
        f"{kind.replace('-', '_')}_{field}": value
        for kind, t in found.items()
        for field, value in asdict(t).items()
    }
