"""What the oldest JAX that we support calls otherwise, or lacks."""

from contextlib import AbstractContextManager
from importlib.metadata import version

import jax
import pytest

JAXLIB = tuple(map(int, version("jaxlib").split(".")[:2]))


def enable_x64() -> AbstractContextManager:
    """Types of 64 bits, meanwhile."""
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    return jax.experimental.enable_x64()


def skip_split_products() -> None:
    """Skip where a product over split axes, such as a layer's gradient, is an error."""
    if JAXLIB < (0, 8):
        pytest.skip("jax 0.7 has no gradients of flax's layers on explicit axes")


def skip_mixed_products() -> None:
    """Skip where CPUs cannot sum products of bfloat16 in float32."""
    if JAXLIB < (0, 8) and jax.default_backend() == "cpu":
        pytest.skip("jaxlib 0.7 has no bfloat16 product with float32 sums on CPUs")
