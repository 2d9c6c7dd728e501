"""What the compiler says of a program."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from jax.stages import Compiled

from train.aot.chips import Chip
from train.devices.memory import peak_memory


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
