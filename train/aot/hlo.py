"""The text of a compiled program, as its computations and their instructions."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

_INSTRUCTION = re.compile(
    r"\s*(?P<root>ROOT )?%?(?P<name>[\w.-]+) = (?P<shape>.*?) (?P<kind>[a-z][\w-]*)\("
)
_ATTRIBUTES = re.compile(r"\), [\w-]+=")
_COMPUTATION = re.compile(r"(?P<entry>ENTRY )?%?(?P<name>[\w.-]+) \(.*\{$")
_NAME = re.compile(r"%([\w.-]+)")
_CALLED = re.compile(
    r"\b(calls|to_apply|body|condition|branch_computations)=(\{[^}]*\}|%[\w.-]+)"
)
_SOURCE = re.compile(r'op_name="([^"]*)"')
_ARRAY = re.compile(
    r"\b(?P<letters>[a-z]+)(?P<digits>\d*)\w*\[(?P<sides>[\d,<=]*)\]"
    r"(?:\{(?P<order>[\d,]*)(?P<layout>:[^}]*)?\})?"
)
_TILE = re.compile(r"T\(([\d,]+)\)")
_SPACE = re.compile(r"S\((\d+)\)")


class Buffer(NamedTuple):
    """One array in memory.

    Attributes:
        size: bytes of its elements.
        tiled: bytes that it takes up: the tiles of TPUs, (8, 128) elements as a rule,
            are filled up.
        space: 0 where it lies in the memory of the chip, HBM; others are on the chip.
        type: of its elements, such as "bf16".
        sides: its shape.
    """

    size: int
    tiled: int
    space: int
    type: str
    sides: tuple[int, ...]


class Instruction(NamedTuple):
    """One line.

    Attributes:
        name: of its result.
        kind: such as "fusion", "all-reduce" or "copy-start".
        shape: of its result, as text.
        operands: names of what it takes.
        line: all of it.
        root: whether its result is that of its computation.
    """

    name: str
    kind: str
    shape: str
    operands: tuple[str, ...]
    line: str
    root: bool

    @property
    def source(self) -> str:
        """Where it comes from, such as "jit(step)/jvp(Segmenter)/head/conv/add"."""
        found = _SOURCE.search(self.line)
        return "" if found is None else found[1]

    def called(self, *roles: str) -> list[str]:
        """Computations that it calls as "calls", "body", "condition", …"""
        return [
            name
            for role, names in _CALLED.findall(self.line)
            if role in roles
            for name in _NAME.findall(names)
        ]


@dataclass
class Program:
    """Name of a computation to its instructions, by name, in the order of the text."""

    computations: dict[str, dict[str, Instruction]] = field(default_factory=dict)
    entry: str = ""

    def __iter__(self) -> Iterator[tuple[str, Instruction]]:
        """Name of the computation, and instruction."""
        for name, instructions in self.computations.items():
            for instruction in instructions.values():
                yield name, instruction


def parse(hlo: str) -> Program:
    """A program from its text, as `Compiled.as_text()`.

    Example:
        >>> program = parse('''
        ... ENTRY %main (x: f32[8,2]) -> f32[8,2] {
        ...   %x = f32[8,2]{1,0} parameter(0)
        ...   ROOT %y = f32[8,2]{1,0} multiply(%x, %x), metadata={op_name="jit(f)/mul"}
        ... }
        ... ''')
        >>> y = program.computations[program.entry]["y"]
        >>> y.kind, y.operands, y.source
        ('multiply', ('x', 'x'), 'jit(f)/mul')
    """
    program, name = Program(), ""
    for line in hlo.splitlines():
        match, header = _INSTRUCTION.match(line), _COMPUTATION.match(line)
        if match is not None:
            found = Instruction(
                match["name"],
                match["kind"],
                match["shape"],
                tuple(_NAME.findall(_ATTRIBUTES.split(line[match.end() :], 1)[0])),
                line,
                match["root"] is not None,
            )
            program.computations.setdefault(name, {})[found.name] = found
        elif header is not None:
            name = header["name"]
            program.entry = name if header["entry"] else program.entry
    return program


def buffers(shape: str) -> list[Buffer]:
    """The arrays of a shape, one or a tuple of them.

    Example:
        >>> [x] = buffers("bf16[65,4,65,3]{3,1,2,0:T(8,128)(2,1)S(1)}")
        >>> x.size == 65 * 4 * 65 * 3 * 2, x.tiled == 65 * 65 * 8 * 128 * 2, x.space
        (True, True, 1)
    """
    return [_buffer(match) for match in _ARRAY.finditer(shape)]


def _buffer(match: re.Match[str]) -> Buffer:
    letters, layout = match["letters"], match["layout"] or ""
    bits = 8 if letters == "pred" else int(match["digits"] or 0)  # a token has none
    sides = tuple(int(n.lstrip("<=")) for n in match["sides"].split(",") if n)
    order = [int(n) for n in (match["order"] or "").split(",") if n]
    space, tile = _SPACE.search(layout), _TILE.search(layout)
    filled = [sides[axis] for axis in order] if order else [*reversed(sides)]
    rows = [int(n) for n in tile[1].split(",")] if tile else []
    for place, side in enumerate(reversed(rows[-len(filled) :] if filled else [])):
        filled[place] = math.ceil(filled[place] / side) * side
    return Buffer(
        math.ceil(bits * math.prod(sides) / 8),
        math.ceil(bits * math.prod(filled) / 8),
        0 if space is None else int(space[1]),
        letters + match["digits"],
        sides,
    )


def array_bytes(shape: str) -> int:
    """Bytes of a shape, of all arrays of a tuple.

    Example:
        >>> array_bytes("(bf16[4,3]{1,0:T(8,128)(2,1)}, pred[5]{0}, /*index=2*/s32[])")
        33
    """
    return sum(buffer.size for buffer in buffers(shape))
