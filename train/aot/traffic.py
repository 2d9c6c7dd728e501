"""The bytes that a compiled program moves, instruction by instruction."""

from collections.abc import Iterator
from typing import NamedTuple

from train.aot.hlo import Buffer, Instruction, Program, buffers

Scope = dict[str, Instruction]

FREE = {
    "after-all",
    "bitcast",
    "constant",
    "get-tuple-element",
    "opt-barrier",
    "parameter",
    "partition-id",
    "replica-id",
    "tuple",
}
"""They name what is there, and move nothing."""

SLICES = ("dynamic-slice", "gather", "slice")


class Move(NamedTuple):
    """What one instruction reads and writes.

    Attributes:
        instruction: it.
        computation: that it is in.
        counted: bytes as the compiler counts them, in whatever memory they lie: what
            is copied between HBM and the chip beside other work it counts twice, or of
            a slice one and a half times.
        hbm: bytes that leave or enter the memory of the chip, HBM.
    """

    instruction: Instruction
    computation: str
    counted: int
    hbm: int


def moves(program: Program) -> Iterator[Move]:
    """Every instruction of a program that runs by itself; those of a loop once.

    Example:
        >>> from train.aot.hlo import parse
        >>> [move] = moves(parse('''
        ... ENTRY %main (x: f32[8,2]) -> f32[8,2] {
        ...   %x = f32[8,2]{1,0} parameter(0)
        ...   ROOT %y = f32[8,2]{1,0} multiply(%x, %x)
        ... }
        ... '''))
        >>> move.counted
        192
    """
    yield from _of_computation(program, program.entry)


def _of_computation(program: Program, name: str) -> Iterator[Move]:
    scope = program.computations.get(name, {})
    for instruction in scope.values():
        kind = instruction.kind
        if kind in FREE or kind.endswith("-done"):
            continue
        if kind in ("while", "conditional", "call"):
            roles = ("body", "condition", "branch_computations", "to_apply")
            for called in instruction.called(*roles):
                yield from _of_computation(program, called)
            continue
        counted, moved = _accesses(program, scope, instruction)
        yield Move(
            instruction,
            name,
            sum(buffer.tiled for buffer in counted),
            sum(buffer.tiled for buffer in moved if buffer.space == 0),
        )


def _accesses(
    program: Program, scope: Scope, instruction: Instruction
) -> tuple[list[Buffer], list[Buffer]]:
    """What the compiler counts, and what is moved."""
    kind, results = instruction.kind, buffers(instruction.shape)
    operands = [_of(scope, name) for name in instruction.operands]
    if kind == "copy-start":  # to, from, and a token
        return 2 * results[:2], results[:2]
    if kind == "slice-start":  # all, the piece, and a token
        whole, piece = results[:2]
        return 3 * [piece], [piece._replace(space=whole.space), piece]
    if kind == "custom-call":
        return [], []
    if kind in SLICES:
        both = results + _in_memory_of(operands[0], results)
        return both, both
    if kind == "dynamic-update-slice":
        both = [*operands[1], *operands[1]]
        return both, both
    if kind == "fusion":
        both = _of_fusion(program, instruction, operands, results)
        return both, both
    both = [*results, *(buffer for found in operands for buffer in found)]
    return both, both


def _of_fusion(
    program: Program,
    instruction: Instruction,
    operands: list[list[Buffer]],
    results: list[Buffer],
) -> list[Buffer]:
    """Results and operands; of what is sliced, or updated in place, the pieces."""
    [name] = instruction.called("calls")
    inner = program.computations[name]
    root = next(i for i in inner.values() if i.root)
    found = results
    if root.kind == "dynamic-update-slice":
        found = _in_memory_of(results, _of(inner, root.operands[1]))
    parameters = [i for i in inner.values() if i.kind == "parameter"]
    parameters.sort(key=lambda i: int(i.line.split(" parameter(")[1].split(")")[0]))
    for parameter, given in zip(parameters, operands, strict=True):
        users = [i for i in inner.values() if parameter.name in i.operands]
        slices = [user for user in users if _takes_piece(user, parameter)]
        if not users or slices != users:
            found = found + given
            continue
        read = (user for user in slices if user.kind in SLICES)
        pieces = [buffer for user in read for buffer in buffers(user.shape)]
        found = found + _in_memory_of(given, pieces)
    return found


def _takes_piece(user: Instruction, parameter: Instruction) -> bool:
    """Whether it reads a piece, or, at the end of a fusion, puts one into it."""
    puts = user.root and user.kind == "dynamic-update-slice"
    return (puts or user.kind in SLICES) and user.operands[0] == parameter.name


def _in_memory_of(where: list[Buffer], what: list[Buffer]) -> list[Buffer]:
    return [buffer._replace(space=where[0].space) for buffer in what]


def _of(scope: Scope, name: str) -> list[Buffer]:
    return buffers(scope[name].shape) if name in scope else []
