"""Which part of a training an instruction belongs to, and of which kind it is."""

import re

from train.aot.collectives import KINDS as EXCHANGES
from train.aot.hlo import Instruction, Program
from train.aot.traffic import Scope

PARTS = (
    "backbone, forward",
    "backbone, backward",
    "head, forward",
    "head, backward",
    "EM",
    "resize and loss",
    "optimiser and rest",
)
KINDS = (
    "convolution",
    "BN statistics",
    "elementwise",
    "layout",
    "on and off the chip",
    "exchange",
)

_EM = re.compile(r"/context/(?!conv\d|bn\b|jit\(relu\)|add\b)")
_LAYOUT = {
    "bitcast",
    "broadcast",
    "concatenate",
    "constant",
    "copy",
    "dynamic-slice",
    "get-tuple-element",
    "pad",
    "parameter",
    "reshape",
    "reverse",
    "slice",
    "transpose",
    "tuple",
}


def part_of(source: str) -> str:
    """The one of `PARTS`, from the scopes that jax keeps of an operation.

    What a context module does beside its convolutions is "EM".

    Example:
        >>> part_of("jit(f)/transpose(jvp(Segmenter))/backbone/stage1_block1/add")
        'backbone, backward'
        >>> part_of("jit(f)/jvp(Segmenter)/head/context/while/body/...nk/dot_general")
        'EM'
        >>> part_of("jit(f)/jvp(Segmenter)/Segmenter._resize/dot_general")
        'resize and loss'
    """
    way = "backward" if "transpose(" in source else "forward"
    if "/backbone/" in source:
        return f"backbone, {way}"
    if _EM.search(source):
        return "EM"
    if "head/" in source:  # the auxiliary one too
        return f"head, {way}"
    return "resize and loss" if "jvp(" in source else "optimiser and rest"


def kind_of(program: Program, instruction: Instruction, source: str) -> str:
    """The one of `KINDS`; a fusion is what it holds that comes first there.

    Convolutions are matrix products too, with all that is fused into them. To normalise
    is elementwise, as ReLU and sums of branches are. "layout" moves numbers to where
    the next instruction wants them.
    """
    kind = instruction.kind.removesuffix("-start")
    if instruction.kind in ("copy-start", "slice-start"):
        return "on and off the chip"
    if kind in EXCHANGES:
        return "exchange"
    held = _held(program, instruction)
    if held & {"convolution", "dot"}:
        return "convolution"
    if held & {"reduce", "reduce-window"} and "/bn/" in source:
        return "BN statistics"
    return "layout" if held <= _LAYOUT else "elementwise"


def sources(scope: Scope) -> dict[str, str]:
    """Where each instruction of a computation comes from.

    Copies have no source of their own: they are for what first uses them, or else of
    what they copy.
    """
    found = {name: instruction.source for name, instruction in scope.items()}
    for name, instruction in reversed(scope.items()):
        for operand in instruction.operands:
            if operand in found and not scope[operand].source:
                found[operand] = found[name] or found[operand]
    for name, instruction in scope.items():
        given = (found.get(operand, "") for operand in instruction.operands)
        found[name] = found[name] or next(filter(None, given), "")
    return found


def _held(program: Program, instruction: Instruction) -> set[str]:
    """Kinds of the instructions of a fusion, or that of one that is none."""
    if instruction.kind != "fusion":
        return {instruction.kind}
    [name] = instruction.called("calls")
    inner = program.computations[name].values()
    return set().union(*(_held(program, one) for one in inner))
