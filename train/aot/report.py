"""The tables of one compiled training step, printed and written."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jax.stages import Compiled

from train.aot.chips import Chip
from train.aot.collectives import Tally
from train.aot.cost import estimate, memory
from train.devices.memory import GIB
from train.profile.output import Table
from train.profile.output import show as write
from train.profile.table import Column, Row, Value

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
