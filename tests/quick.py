"""Programs that run a few times only: compiled faster, to run slower."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from importlib.metadata import version
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

FLAGS = ["--xla_backend_optimization_level=0"]
"""For XLA_FLAGS; where they do not know a flag, the compilers end the process."""

if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11):
    FLAGS.append("--xla_cpu_use_fusion_emitters=false")
    FLAGS.append("--xla_cpu_parallel_codegen_split_count=1")


def compiled(function: Callable[..., Any], *args: Any) -> jax.stages.Compiled:
    """The program of these arguments."""
    return jax.jit(function).lower(*args).compile()


def run(function: Callable[..., Any], *args: Any) -> Any:
    """`jax.jit(function)(*args)`, the first time and the last."""
    return compiled(function, *args)(*args)


def whole(method: Callable[..., Any]) -> Callable[..., Any]:
    """`Module.init` or `.apply` as one program, where each operation would be one.

    A program is compiled once for equal modules and options. Within a program that is
    being traced the method is called as it is: nothing would be compiled by operation.
    """

    def call(module: Any, given: tuple, named: dict, options: frozenset) -> Any:
        return method(module, *given, **named, **dict(options))

    program = jax.jit(call, static_argnums=(0, 3), inline=True)

    def replacement(module: Any, *given: Any, **named: Any) -> Any:
        if in_a_program():
            return method(module, *given, **named)
        options = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in named.items()
            if fixed(value)
        }
        held = frozenset(options.items())
        try:
            hash((module, held))
        except (TypeError, ValueError):  # an attribute is an array
            return method(module, *given, **named)
        arrays = {name: named[name] for name in named.keys() - options.keys()}
        return program(module, given, arrays, held)

    return replacement


def in_a_program() -> bool:
    """Whether operations are recorded; not so under a bare `jax.grad` or `jax.vmap`."""
    return isinstance(jnp.zeros(()), jax.core.Tracer)


def fixed(value: Any) -> bool:
    """Whether an option decides what is compiled."""
    leaves = jax.tree.leaves(value)
    return not leaves or not all(isinstance(x, (jax.Array, np.ndarray)) for x in leaves)


def by_part(*kinds: type[nn.Module]) -> AbstractContextManager[None]:
    """Within it each module of these kinds runs as a program of its own.

    Equal modules share one: a deep network has few blocks that differ.
    """

    def call(inner: Callable[..., Any], given: tuple, named: dict, context: Any) -> Any:
        module = context.module
        whole = not module.path or module.is_initializing()
        if whole or not isinstance(module, kinds):
            return inner(*given, **named)
        alone, variables = module.unbind()
        return part(alone, frozenset(named.items()), variables, *given)

    return nn.intercept_methods(call)


@partial(jax.jit, static_argnums=(0, 1))
def part(module: nn.Module, options: frozenset, variables: Any, *given: Any) -> Any:
    """What a module says to its arguments."""
    return module.apply(variables, *given, **dict(options))
