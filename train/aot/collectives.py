"""The collectives of a compiled program."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from train.aot.hlo import Program, array_bytes

KINDS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "collective-permute",
    "all-to-all",
)

_HALF = re.compile(r"(.*?)(-start|-done)?")
_PIECE = re.compile(r"channel_id=(\d+).*\bchain_id=")


class Collective(NamedTuple):
    """One collective.

    Attributes:
        kind: of `KINDS`.
        size: bytes of what one device puts in or gets out, whichever is more.
    """

    kind: str
    size: int


@dataclass(frozen=True)
class Tally:
    """How many collectives, and their bytes together."""

    count: int
    size: int


def collectives(program: Program) -> list[Collective]:
    """Every collective of a program, in the order of its text.

    One in the body of a loop, or in a fusion, counts as often as it is written. The two
    halves of an asynchronous one count once, and so do the pieces of one that several
    fusions carry out. The compiler for TPUs may write a reduce-scatter as a fusion
    named all-reduce-scatter, with an all-reduce in it.

    Example:
        >>> from train.aot.hlo import parse
        >>> collectives(parse('''
        ...   %x = f32[8,2]{1,0} parameter(0)
        ...   %y = f32[8,2]{1,0} all-reduce(%x), to_apply=%add
        ... '''))
        [Collective(kind='all-reduce', size=64)]
    """
    found: list[Collective] = []
    starts: dict[str, int] = {}
    pieces: set[str] = set()
    for computation, instruction in program:
        kind, half = _HALF.fullmatch(instruction.kind).groups()  # type: ignore[union-attr]
        if kind not in KINDS:
            continue
        size = array_bytes(instruction.shape)
        if half == "-done":  # the shape of the start holds operands and results
            place = starts[instruction.operands[0]]
            found[place] = Collective(kind, max(found[place].size, size))
            continue
        again = pieces & {*_PIECE.findall(instruction.line)}
        pieces.update(_PIECE.findall(instruction.line))
        if again:
            continue
        if kind == "all-reduce" and computation.startswith("all-reduce-scatter"):
            kind = "reduce-scatter"
        scope = program.computations[computation]
        given = sum(array_bytes(scope[name].shape) for name in instruction.operands)
        starts[instruction.name] = len(found)
        found.append(Collective(kind, given if half else max(given, size)))
    return found


def tally(found: Iterable[Collective]) -> dict[str, Tally]:
    """Count and bytes of each of `KINDS`, those that are missing too.

    Example:
        >>> tally([Collective("all-reduce", 8), Collective("all-reduce", 4)])[
        ...     "all-reduce"
        ... ]
        Tally(count=2, size=12)
    """
    found = list(found)
    by_kind = {kind: [c.size for c in found if c.kind == kind] for kind in KINDS}
    return {kind: Tally(len(sizes), sum(sizes)) for kind, sizes in by_kind.items()}
