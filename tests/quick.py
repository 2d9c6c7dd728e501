"""Programs that run a few times only: compiled faster, to run slower."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

FLAGS = ["--xla_backend_optimization_level=0"]
"""For XLA_FLAGS; where they do not know a flag, the compilers end the process."""

if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11):
    FLAGS.append("--xla_cpu_use_fusion_emitters=false")


@contextmanager
def kept_programs(folder: Path) -> Iterator[None]:
    """Programs are kept in a folder meanwhile: none is compiled twice."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    for name, value in zip(names, (str(folder), 0.0), strict=True):
        jax.config.update(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


def compiled(function: Callable[..., Any], *args: Any) -> jax.stages.Compiled:
    """The program of these arguments."""
    return jax.jit(function).lower(*args).compile()


def run(function: Callable[..., Any], *args: Any) -> Any:
    """`jax.jit(function)(*args)`, the first time and the last."""
    return compiled(function, *args)(*args)
