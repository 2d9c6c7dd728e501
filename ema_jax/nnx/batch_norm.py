"""Batch normalisation of NNX whose statistics are those of the tokens that exist."""

from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jax.typing import DTypeLike

from ema_jax.batch_norm import average, batch_statistics, standardize
from ema_jax.options import AxisName, check_count


class BatchNorm(nnx.Module):
    """`y = γ (x - mean) / √(var + 1e-5) + β`, over all axes but the channels.

    That of Linen, `ema_jax.batch_norm.BatchNorm`, with the variables and the modes of
    `nnx.BatchNorm`.

    Args:
        num_features: C.
        use_running_average: normalise with the running statistics, and keep them;
            `model.train()` and `model.eval()` set it.
        decay: share of the old running statistics that an update keeps.
        axis_name: mapped axis over which the tokens are split, if any.
        dtype: type of the result. Parameters, statistics and sums are float32.
        scale_init: of γ.
        rngs: of γ.

    Example:
        >>> norm = BatchNorm(1, rngs=nnx.Rngs(0))
        >>> mask = jnp.array([[True], [True], [False]])
        >>> norm(jnp.array([[1.0], [3.0], [jnp.nan]]), mask)[:2, 0].round(2)
        Array([-1.,  1.], dtype=float32)
    """

    def __init__(
        self,
        num_features: int,
        *,
        use_running_average: bool = False,
        decay: float = 0.99,
        axis_name: AxisName | None = None,
        dtype: DTypeLike = jnp.float32,
        scale_init: Callable[..., Array] = nnx.initializers.ones,
        rngs: nnx.Rngs,
    ) -> None:
        check_count("num_features", num_features)
        shape = (num_features,)
        self.scale = nnx.Param(scale_init(rngs.params(), shape, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(shape))
        self.mean = nnx.BatchStat(jnp.zeros(shape))
        self.var = nnx.BatchStat(jnp.ones(shape))
        self.use_running_average = use_running_average
        self.decay = decay
        self.axis_name = axis_name
        self.dtype = dtype

    def __call__(
        self,
        x: Array,
        mask: Array | None = None,
        *,
        use_running_average: bool | None = None,
    ) -> Array:
        """Normalise (..., C); the mask broadcasts against x, not 0 where it exists."""
        if use_running_average is None:
            use_running_average = self.use_running_average
        mean, var = self.mean[...], self.var[...]
        if not use_running_average:
            mean, var = batch_statistics(x, mask, mean, var, self.axis_name)
            for running, new in ((self.mean, mean), (self.var, var)):
                kept = average(running[...], new, self.decay)
                running[...] = lax.stop_gradient(kept)
        return standardize(x, mean, var, self.scale[...], self.bias[...], self.dtype)

    def set_view(self, use_running_average: bool | None = None) -> None:
        """What `nnx.view` sets."""
        if use_running_average is not None:
            self.use_running_average = use_running_average
