"""Programs that run a few times only: compiled faster, to run slower."""

from collections.abc import Callable
from typing import Any

import jax

OPTIONS = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}


def compiled(function: Callable[..., Any], *args: Any) -> jax.stages.Compiled:
    """The program of these arguments, without the costly passes of the compiler."""
    lowered = jax.jit(function).lower(*args)
    try:
        return lowered.compile(OPTIONS)
    except jax.errors.JaxRuntimeError:  # a compiler that has no such options
        return lowered.compile()


def run(function: Callable[..., Any], *args: Any) -> Any:
    """`jax.jit(function)(*args)`, the first time and the last."""
    return compiled(function, *args)(*args)
