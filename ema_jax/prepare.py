"""How tokens and bases enter EM: their type, their shape, and where they lie."""

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from ema_jax.options import AxisName, axis_names


def prepare(
    x: Array, bases: Array, mask: Array | None, axis_name: AxisName | None = None
) -> tuple[Array, Array]:
    """Tokens and bases as EM takes them: float32 or wider, one shape of leading axes.

    Absent tokens become zeros: 0 · NaN is NaN, so what they hold must not reach a sum.
    """
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    tokens = x.astype(dtype)
    if mask is not None:
        tokens = jnp.where(mask[..., None], tokens, 0)
    shape = (*x.shape[:-2], *bases.shape[-2:])
    bases = jnp.broadcast_to(bases.astype(dtype), shape)
    return tokens, _spread_like(tokens, bases, axis_name)


def _spread_like(tokens: Array, bases: Array, axis_name: AxisName | None) -> Array:
    """The bases, spread over devices as an M step leaves them.

    A loop wants them to begin as they go on: on a mesh with explicit axes split as the
    leading axes of the tokens are; under `shard_map` varying over the same axes, but
    for `axis_name`, over which an M step sums.
    """
    given = jax.typeof(tokens)
    mesh = given.sharding.mesh
    if AxisType.Explicit in mesh.axis_types:
        leading = given.sharding.spec[:-2]
        spec = PartitionSpec(*leading, None, None)
        bases = jax.sharding.reshard(bases, NamedSharding(mesh, spec))
    varying, already = (
        jax.typeof(array).manual_axis_type.varying for array in (tokens, bases)
    )
    missing = tuple(varying - already - set(axis_names(axis_name)))
    return lax.pcast(bases, missing, to="varying") if missing else bases
