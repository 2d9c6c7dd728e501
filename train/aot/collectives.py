"""The collectives of a compiled program, read from its text."""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

KINDS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "collective-permute",
    "all-to-all",
)

_INSTRUCTION = re.compile(
    r"\s*(?:ROOT )?%?(?P<name>[\w.-]+) = (?P<shape>.*?) "
    r"(?P<kind>[a-z][\w-]*?)(?P<half>-start|-done)?\("
)
_ATTRIBUTES = re.compile(r"\), [\w-]+=")
_COMPUTATION = re.compile(r"(?:ENTRY )?%?([\w.-]+) \(.*\{$")
_PIECE = re.compile(r"channel_id=(\d+).*\bchain_id=")
_ARRAY = re.compile(r"\b([a-z]+)(\d*)\w*\[([\d,<=]*)\]")
_NAME = re.compile(r"%([\w.-]+)")


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


def collectives(hlo: str) -> list[Collective]:
    """Every collective of a program, in the order of its text.

    One in the body of a loop, or in a fusion, counts as often as it is written. The two
    halves of an asynchronous one count once, and so do the pieces of one that several
    fusions carry out. The compiler for TPUs may write a reduce-scatter as a fusion
    named all-reduce-scatter, with an all-reduce in it.

    Args:
        hlo: the text of the compiled program, as `Compiled.as_text()`.

    Example:
        >>> collectives('''
        ...   %x = f32[8,2]{1,0} parameter(0)
        ...   %y = f32[8,2]{1,0} all-reduce(%x), to_apply=%add
        ... ''')
        [Collective(kind='all-reduce', size=64)]
    """
    sizes: dict[str, int] = {}
    found: list[Collective] = []
    starts: dict[str, int] = {}
    pieces: set[str] = set()
    for computation, line, match in _instructions(hlo):
        name, shape, kind, half = match.groups()
        sizes[name] = array_bytes(shape)
        if kind not in KINDS:
            continue
        operands = _NAME.findall(_ATTRIBUTES.split(line[match.end() :], 1)[0])
        if half == "-done":  # the shape of the start holds operands and results
            place = starts[operands[0]]
            found[place] = Collective(kind, max(found[place].size, sizes[name]))
            continue
        again = pieces & {*_PIECE.findall(line)}
        pieces.update(_PIECE.findall(line))
        if again:
            continue
        if kind == "all-reduce" and computation.startswith("all-reduce-scatter"):
            kind = "reduce-scatter"
        given = sum(sizes.get(operand, 0) for operand in operands)
        starts[name] = len(found)
        found.append(Collective(kind, given if half else max(given, sizes[name])))
    return found


def _instructions(hlo: str) -> Iterator[tuple[str, str, re.Match[str]]]:
    """Each instruction: its computation, its line, and what it matches."""
    computation = ""
    for line in hlo.splitlines():
        match, header = _INSTRUCTION.match(line), _COMPUTATION.match(line)
        if match is not None:
            yield computation, line, match
        elif header is not None:
            computation = header[1]


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


def array_bytes(shape: str) -> int:
    """Bytes of a shape of HLO, of all arrays of a tuple.

    Example:
        >>> array_bytes("(bf16[4,3]{1,0:T(8,128)(2,1)}, pred[5]{0}, /*index=2*/s32[])")
        33
    """
    total = 0
    for letters, digits, sides in _ARRAY.findall(shape):
        bits = 8 if letters == "pred" else int(digits or 0)  # a token has none
        lengths = (int(side.lstrip("<=")) for side in sides.split(",") if side)
        total += math.ceil(bits * math.prod(lengths) / 8)
    return total
