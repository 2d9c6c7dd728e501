"""Programs that run a few times only: compiled faster, to run slower."""

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from importlib.metadata import version
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ema_jax.backbones.efficientnet_lite import InvertedBottleneck
from ema_jax.backbones.resnet import Bottleneck
from ema_jax.heads import ContextHead, FCNHead
from ema_jax.layers import ConvBN

FLAGS = ["--xla_backend_optimization_level=0"]
"""For XLA_FLAGS; where they do not know a flag, the compilers end the process."""

if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11):
    FLAGS.append("--xla_cpu_use_fusion_emitters=false")
    FLAGS.append("--xla_cpu_parallel_codegen_split_count=1")


def collect_rarely() -> None:
    """Look for dead objects less often, and not among those that are there.

    Traces are many objects that live: looking among them took a tenth of the time.
    """
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def compiled(function: Callable[..., Any], *args: Any) -> jax.stages.Compiled:
    """The program of these arguments."""
    return jax.jit(function).lower(*args).compile()


def run(function: Callable[..., Any], *args: Any) -> Any:
    """`jax.jit(function)(*args)`, the first time and the last."""
    return compiled(function, *args)(*args)


@contextmanager
def whole_modules() -> Iterator[None]:
    """Within it `init` and `apply` of every module are one program each."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("init", "init_with_output", "apply"):
            patch.setattr(nn.Module, name, whole(getattr(nn.Module, name)))
        yield


def whole(method: Callable[..., Any]) -> Callable[..., Any]:
    """`Module.init` or `.apply` as one program, where each operation would be one.

    Within a program that is being traced the method is called as it is: nothing would
    be compiled by operation.
    """
    program = one_program(method)

    def replacement(module: Any, *given: Any, **named: Any) -> Any:
        return (method if in_a_program() else program)(module, *given, **named)

    return replacement


def one_program(method: Callable[..., Any]) -> Callable[..., Any]:
    """The same wherever it is called: one for equal modules and options."""

    @partial(jax.jit, static_argnums=(0, 3))
    def call(module: Any, given: tuple, named: dict, options: frozenset) -> Any:
        return method(module, *given, **named, **dict(options))

    def program(module: Any, *given: Any, **named: Any) -> Any:
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
        return call(module, given, arrays, held)

    return program


def in_a_program() -> bool:
    """Whether operations are recorded; not so under a bare `jax.grad` or `jax.vmap`."""
    return isinstance(jnp.zeros(()), jax.core.Tracer)


def fixed(value: Any) -> bool:
    """Whether an option decides what is compiled."""
    leaves = jax.tree.leaves(value)
    return not leaves or not all(isinstance(x, (jax.Array, np.ndarray)) for x in leaves)


PARTS = (Bottleneck, InvertedBottleneck, ConvBN, ContextHead, FCNHead)


def by_part() -> AbstractContextManager[None]:
    """Within it each of the `PARTS` of a network runs as a program of its own.

    Equal parts share one, in this network and in the next. Those that update their
    statistics run as ever.
    """

    def call(inner: Callable[..., Any], given: tuple, named: dict, context: Any) -> Any:
        module = context.module
        starts = module.is_initializing()
        learns = module.is_mutable_collection("batch_stats") and not starts
        if learns or not (isinstance(module, PARTS) and module.path):
            return inner(*given, **named)
        alone, variables = module.unbind()
        if not starts:
            return _apply(alone, variables, *given, **named)
        result, made = _init(alone, module.make_rng("params"), *given, **named)
        for kind, tree in made.items():
            for name, value in tree.items():
                module.put_variable(kind, name, value)
        return result

    return nn.intercept_methods(call)


_apply = one_program(nn.Module.apply)
_init = one_program(nn.Module.init_with_output)
