"""Programs that run a few times only: compiled faster, to run slower."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import jax

FLAGS = ["--xla_backend_optimization_level=0"]
"""For XLA_FLAGS; where they do not know a flag, the compilers end the process."""

if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11):
    FLAGS.append("--xla_cpu_use_fusion_emitters=false")


def compiled(function: Callable[..., Any], *args: Any) -> jax.stages.Compiled:
    """The program of these arguments."""
    return jax.jit(function).lower(*args).compile()


def run(function: Callable[..., Any], *args: Any) -> Any:
    """`jax.jit(function)(*args)`, the first time and the last."""
    return compiled(function, *args)(*args)
