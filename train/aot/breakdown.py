"""The bytes of a program by part of the network and by kind of operation."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from train.aot.hlo import Program
from train.aot.parts import KINDS, PARTS, kind_of, part_of, sources
from train.aot.traffic import moves
from train.profile.output import Value

_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')


class Breakdown(NamedTuple):
    """Where the bytes of a program go; each counter by `PARTS` or by `KINDS`.

    Attributes:
        parts, kinds: all that the compiler counts.
        hbm_parts, hbm_kinds: those that leave or enter the memory of the chip.
        cycles: that the compiler for TPUs expects of what it wrote, without waiting
            for memory and other chips; 0 where it says nothing.
    """

    parts: Counter[str]
    kinds: Counter[str]
    hbm_parts: Counter[str]
    hbm_kinds: Counter[str]
    cycles: int

    @property
    def counted(self) -> int:
        return self.parts.total()

    @property
    def hbm(self) -> int:
        return self.hbm_parts.total()


def break_down(program: Program) -> Breakdown:
    """Every move of a program, under its part and its kind."""
    found = Breakdown(Counter(), Counter(), Counter(), Counter(), 0)
    named = {n: sources(scope) for n, scope in program.computations.items()}
    cycles = 0
    for move in moves(program):
        instruction = move.instruction
        source = named[move.computation][instruction.name]
        part, kind = part_of(source), kind_of(program, instruction, source)
        found.parts[part] += move.counted
        found.kinds[kind] += move.counted
        found.hbm_parts[part] += move.hbm
        found.hbm_kinds[kind] += move.hbm
        cycles += sum(map(int, _CYCLES.findall(instruction.line)))
    return found._replace(cycles=cycles)


def part_rows(found: Breakdown, least: Mapping[str, int]) -> list[dict[str, Value]]:
    """A row for each part, and their sum; `least` is empty where it is not known."""
    rows: list[dict[str, Value]] = [
        {
            "name": part,
            "counted": found.parts[part],
            "hbm": found.hbm_parts[part],
            "least": least.get(part, 0) if least else None,
        }
        for part in PARTS
    ]
    total = sum(least.values()) if least else None
    whole = {"counted": found.counted, "hbm": found.hbm, "least": total}
    return [*rows, {"name": "all", **whole}]


def kind_rows(found: Breakdown) -> list[dict[str, Value]]:
    """A row for each kind."""
    return [
        {"name": kind, "counted": found.kinds[kind], "hbm": found.hbm_kinds[kind]}
        for kind in KINDS
    ]
