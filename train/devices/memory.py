"""Whether a program fits its devices, known before it runs."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import jax
from jax.stages import Compiled

from train.user.errors import UserError

GIB = 2**30
Result = TypeVar("Result")


def attempt(function: Callable[..., Result], *args: Any) -> Result | None:
    """`function(*args)`, or None where the device has too little memory for it."""
    try:
        return function(*args)
    except jax.errors.JaxRuntimeError as error:
        if not exhausted(error):
            raise
        return None


def exhausted(error: jax.errors.JaxRuntimeError) -> bool:
    """Whether a device, or the compiler for it, has found too little memory."""
    return "RESOURCE_EXHAUSTED" in str(error)


def peak_memory(compiled: Compiled) -> int:
    """Bytes of arguments, results and temporary arrays, as the compiler laid them out.

    On one device; an argument that is donated to a result counts once.
    """
    plan: Any = compiled.memory_analysis()
    parts = ("argument", "output", "temp")
    total = sum(getattr(plan, f"{part}_size_in_bytes") for part in parts)
    return total - plan.alias_size_in_bytes


def free_memory(device: jax.Device) -> float:
    """Bytes that a program can still have; infinite where nobody says."""
    statistics = device.memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"] - statistics["bytes_in_use"]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return math.inf
    [available] = [line for line in lines if line.startswith("MemAvailable:")]
    return int(available.split()[1]) * 1024


def compile_to_fit(
    compiler: Callable[..., Compiled],
    *arguments: Any,
    devices: list[jax.Device],
    advice: str,
) -> Compiled:
    """`compiler(*arguments)`, which must fit the memory that is free beside those.

    Args:
        compiler: makes a program of the arguments that are on the devices already.
        *arguments: trees of arrays.
        devices: of this process. Those of a CPU share its memory.
        advice: what the user can change.

    Raises:
        UserError: the program needs more, or the compiler finds no way to fit it.
    """
    compiled = attempt(compiler, *arguments)
    if compiled is None:
        raise UserError(f"the training step does not fit {devices[0]}; {advice}")
    plan: Any = compiled.memory_analysis()
    held = plan.argument_size_in_bytes
    needed = peak_memory(compiled) - held
    share = len(devices) if devices[0].platform == "cpu" else 1
    free = free_memory(devices[0]) / share
    if needed > free:
        raise UserError(
            f"the training step needs {(needed + held) / GIB:.3g} GiB on each device, "
            f"and {(free + held) / GIB:.3g} are free; {advice}"
        )
    return compiled
