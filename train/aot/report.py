"""What the compiler says of a training step, and what a chip makes of it, as tables."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

from jax.stages import Compiled

from train.aot.breakdown import Breakdown, kind_rows, part_rows
from train.aot.collectives import Tally
from train.devices.memory import GIB, peak_memory
from train.profile.output import Column, Row, Table, Value


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
    """The chip of a topology such as "v5e:4x4"; None for one that is not listed."""
    return CHIPS.get(topology.partition(":")[0])


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
    Column("hbm_bytes", "GB of HBM", 1e9, 1),
    Column("cycles", "Mcycles", 1e6, 1),
    Column("seconds", "step ms", 1e-3, 1),
    Column("estimated_by", "by"),
)
PARTS = (
    Column("name", "bytes by part"),
    Column("counted", "GB", 1e9),
    Column("hbm", "GB of HBM", 1e9),
    Column("least", "least GB", 1e9),
)
KINDS = (Column("name", "bytes by kind"), *PARTS[1:3])
COLLECTIVES = (
    Column("kind", "collectives"),
    Column("count", "count", 1, 0),
    Column("size", "MiB", 2**20, 3),
)
NOTES = """\
outputs: those beside the state, which takes the place of the old one. GFLOP, GB: what
the compiler counts, the body of a loop once, wherever the bytes lie. GB of HBM: those
between the chip and its memory. Mcycles: what the compiler expects of what it wrote, if
that never waits. step: at least so long, by the compiler's own estimate, or by FLOPs at
the peak in bfloat16, or by bytes of HBM at its bandwidth. least: inputs and results of
every convolution and product once, and what the optimiser reads and writes.
collectives: as written in the program, in a loop once; MiB: of what a chip puts in or
gets out, whichever is more."""


def measured(
    compiled: Compiled, chip: Chip | None, moved: Breakdown
) -> dict[str, Value]:
    """The cells of `MEMORY` and `WORK`, of each chip."""
    plan: Any = compiled.memory_analysis()
    costs: Any = compiled.cost_analysis()
    arguments, temporaries = plan.argument_size_in_bytes, plan.temp_size_in_bytes
    total = peak_memory(compiled)
    return {
        "arguments": arguments,
        "outputs": total - arguments - temporaries,
        "temporaries": temporaries,
        "total": total,
        "fits": "yes" if chip is None or total <= chip.memory else "no",
        "flops": costs["flops"],
        "bytes": costs["bytes accessed"],
        "hbm_bytes": moved.hbm,
        "cycles": moved.cycles or None,
        **estimate({**costs, "bytes accessed": moved.hbm}, chip),
    }


def estimate(costs: Mapping[str, float], chip: Chip | None) -> dict[str, Value]:
    """How long a program takes at least, on a chip, and what says so.

    `max(FLOPs / peak, bytes / bandwidth)`, unless the compiler's own figure is there
    and not below that of its FLOPs: it can be negative. Empty where neither is known.

    Args:
        costs: of `Compiled.cost_analysis`, "flops", and "optimal_seconds" where it is;
            "bytes accessed", those of HBM.
        chip: that it runs on; None: not known.

    Example:
        >>> chip = Chip(memory=0, flops=100.0, bandwidth=10.0)
        >>> estimate({"flops": 200.0, "bytes accessed": 50.0}, chip)
        {'seconds': 5.0, 'estimated_by': 'bytes'}
    """
    seconds = costs.get("optimal_seconds", -1.0)
    compute = 0.0 if chip is None else costs["flops"] / chip.flops
    if math.isfinite(seconds) and seconds > 0 and seconds >= compute:
        return {"seconds": seconds, "estimated_by": "compiler"}
    if chip is None:
        return {}
    move = costs["bytes accessed"] / chip.bandwidth
    by = "FLOPs" if compute >= move else "bytes"
    return {"seconds": max(compute, move), "estimated_by": by}


def exchanged(found: Mapping[str, Tally]) -> dict[str, Value]:
    """The collectives as cells of one row, such as "all_reduce_count"."""
    return {
        f"{kind.replace('-', '_')}_{field}": value
        for kind, t in found.items()
        for field, value in asdict(t).items()
    }


def by_part(moved: Breakdown, least: Mapping[str, int]) -> dict[str, Value]:
    """The bytes by part as cells of one row, such as "head_forward_hbm"."""
    return {
        f"{str(row['name']).replace(', ', '_').replace(' ', '_')}_{field}": row[field]
        for row in part_rows(moved, least)
        for field in ("counted", "hbm", "least")
    }


def tables(
    row: Row,
    found: Mapping[str, Tally],
    moved: Breakdown | None,
    least: Mapping[str, int],
) -> list[Table]:
    """Of a row of `measured`, the collectives, and the bytes; of memory alone for none.

    Args:
        row: of `MEMORY` and `WORK`.
        found: the collectives by kind.
        moved: the bytes; None: the program does not fit.
        least: of them, by part; empty: not known.
    """
    if moved is None:
        return [(MEMORY, [row])]
    kinds = [{"kind": kind, **asdict(t)} for kind, t in found.items()]
    return [
        (MEMORY, [row]),
        (WORK, [row]),
        (PARTS, part_rows(moved, least)),
        (KINDS, kind_rows(moved)),
        (COLLECTIVES, kinds),
    ]
