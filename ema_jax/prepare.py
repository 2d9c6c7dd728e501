"""How tokens and bases enter EM: their type, their shape, and where they lie."""

from collections.abc import Set
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jax.typing import DTypeLike

from ema_jax.options import AxisName, axis_names

State = TypeVar("State")
"""An array (..., K, ·), or a tree of such."""


def prepare(
    x: Array, state: State, mask: Array | None, axis_name: AxisName | None = None
) -> tuple[Array, State]:
    """Tokens and bases as EM takes them: float32 or wider, one shape of leading axes.

    Absent tokens become zeros: 0 · NaN is NaN, so what they hold must not reach a sum.
    """
    dtype = wide_type(x.dtype)
    tokens = x.astype(dtype)
    if mask is not None:
        tokens = jnp.where(mask[..., None], tokens, 0)

    def enter(array: Array) -> Array:
        shape = (*x.shape[:-2], *array.shape[-2:])
        array = jnp.broadcast_to(array.astype(dtype), shape)
        return _spread_like(tokens, array, axis_name)

    return tokens, jax.tree.map(enter, state)


def wide_type(*dtypes: DTypeLike) -> DTypeLike:
    """The type of sums over values of these types: float32, or wider.

    It says what a promotion to float32 would, also where JAX is told to promote
    nothing by itself.

    Example:
        >>> wide_type(jnp.bfloat16)
        dtype('float32')
    """
    known = [jnp.dtype(dtype) for dtype in (*dtypes, jnp.float32)]
    return max(known, key=lambda dtype: jnp.finfo(dtype).bits)


def without_tokens(tokens: Array) -> NamedSharding | None:
    """Where sums over the tokens (..., N, ·) lie on a mesh of explicit axes, or None.

    Such a sum must say it: split as the leading axes are, and over no axis of the
    tokens.
    """
    if not on_explicit_axes(tokens):
        return None
    given = jax.typeof(tokens).sharding
    return NamedSharding(given.mesh, PartitionSpec(*given.spec[:-2], None, None))


def on_explicit_axes(array: Array) -> bool:
    """Whether the type of an array says how it is split over a mesh."""
    return AxisType.Explicit in jax.typeof(array).sharding.mesh.axis_types


def _spread_like(tokens: Array, array: Array, axis_name: AxisName | None) -> Array:
    """(..., K, ·), spread over devices as an M step leaves it.

    A loop wants its state to begin as it goes on: on a mesh with explicit axes split as
    the leading axes of the tokens are; under `shard_map` varying over the same axes,
    but for `axis_name`, over which an M step sums.
    """
    sharding = without_tokens(tokens)
    if sharding is not None:
        array = jax.sharding.reshard(array, sharding)
    missing = varying(tokens) - varying(array) - set(axis_names(axis_name))
    return _spread(array, tuple(missing)) if missing else array


def varying(array: Array) -> Set[str]:
    """Axes of `shard_map` over which the devices hold different numbers."""
    kind = jax.typeof(array)
    if hasattr(kind, "manual_axis_type"):
        return kind.manual_axis_type.varying
    return kind.vma  # jax < 0.9


def _spread(array: Array, axes: tuple[str, ...]) -> Array:
    """The same numbers, as if they varied over `axes`."""
    if hasattr(lax, "pcast"):
        return lax.pcast(array, axes, to="varying")
    return lax.pvary(array, axes)  # type: ignore[attr-defined]  # jax < 0.9
