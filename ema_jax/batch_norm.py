"""Batch normalisation whose statistics are those of the tokens that exist."""

import math
from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from ema_jax.options import AxisName
from ema_jax.parameters import Given

EPSILON = 1e-5


class BatchNorm(Given):
    """`y = γ (x - mean) / √(var + ε) + β`, over all axes but the channels.

    Variables and results are those of `nn.BatchNorm`, but for two cases of a mask. Over
    a mapped axis the statistics are sums over all tokens, not means of the devices'
    means, which differ when the devices hold unlike numbers of tokens. And a batch
    without a single token leaves the running statistics alone and uses them, where
    0/0 would poison them for good.

    Attributes:
        train: use the statistics of the batch, and update the running ones.
        decay: share of the old running statistics that an update keeps.
        axis_name: mapped axis over which the tokens are split, if any. Its devices
            exchange 2C+1 numbers. As in Flax, `init` does not need it.
        dtype: type of the result. Parameters, statistics and sums are float32.
        scale_init: of γ.
        epsilon: ε.

    Example:
        >>> import jax
        >>> x = jnp.array([[1.0], [3.0], [jnp.nan]])
        >>> mask = jnp.array([[True], [True], [False]])
        >>> norm = BatchNorm(train=True, decay=0.9)
        >>> y, _ = norm.init_with_output(jax.random.key(0), x, mask)
        >>> y[:2, 0].round(2)
        Array([-1.,  1.], dtype=float32)

    Reference:
        Ioffe & Szegedy, ICML 2015, https://arxiv.org/abs/1502.03167.
    """

    train: bool
    decay: float = 0.99
    axis_name: AxisName | None = None
    dtype: DTypeLike = jnp.float32
    scale_init: Callable[..., Array] = nn.initializers.ones
    epsilon: float = EPSILON

    @nn.compact
    def __call__(self, x: Array, mask: Array | None = None) -> Array:
        """Normalise (..., C); the mask broadcasts against x, not 0 where it exists."""
        shape = x.shape[-1:]
        scale = self.param("scale", self.scale_init, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, shape, jnp.float32)
        statistic = partial(self.variable, "batch_stats")
        running_mean = statistic("mean", jnp.zeros, shape, jnp.float32)
        running_var = statistic("var", jnp.ones, shape, jnp.float32)
        mean, var = running_mean.value, running_var.value
        if self.train:
            check_updatable(self)
            axis_name = None if self.is_initializing() else self.axis_name
            mean, var = batch_statistics(x, mask, mean, var, axis_name)
            if not self.is_initializing():
                running_mean.value = average(running_mean.value, mean, self.decay)
                running_var.value = average(running_var.value, var, self.decay)
        return standardize(x, mean, var, scale, bias, self.dtype, self.epsilon)


def check_updatable(module: nn.Module) -> None:
    """Raise a ValueError if a training call cannot update the statistics."""
    if not module.is_mutable_collection("batch_stats"):
        raise ValueError(
            "train=True updates the collection 'batch_stats', which is not mutable; "
            "write y, updates = model.apply(variables, x, train=True, "
            "mutable=['batch_stats'])"
        )


@partial(jax.jit, static_argnames="axis_name")  # traced once for layers of one shape
def batch_statistics(
    x: Array,
    mask: Array | None,
    running_mean: Array,
    running_var: Array,
    axis_name: AxisName | None = None,
) -> tuple[Array, Array]:
    """Mean and variance (C,) of the tokens; the running ones where there is none.

    Args:
        x: (..., C).
        mask: broadcasts against x, not 0 where a token exists.
        running_mean, running_var: (C,).
        axis_name: mapped axis over which the tokens are split, if any.
    """
    total, square, count = _sums(x, mask, axis_name)
    present = count > 0
    count = jnp.maximum(count, 1)
    mean = total / count
    var = jnp.maximum(square / count - jnp.square(mean), 0)
    return jnp.where(present, mean, running_mean), jnp.where(present, var, running_var)


def average(old: Array, new: Array, decay: float) -> Array:
    """A running statistic after a batch."""
    return decay * old + (1 - decay) * new


@partial(jax.jit, static_argnames=("dtype", "epsilon"))  # likewise
def standardize(
    x: Array,
    mean: Array,
    var: Array,
    scale: Array,
    bias: Array,
    dtype: DTypeLike,
    epsilon: float = EPSILON,
) -> Array:
    """`γ (x - mean) / √(var + ε) + β` in float32, then in `dtype`."""
    slope = lax.rsqrt(var + epsilon) * scale
    mean, slope, bias = (
        jnp.expand_dims(row, range(x.ndim - 1)) for row in (mean, slope, bias)
    )
    return ((x.astype(jnp.float32) - mean) * slope + bias).astype(dtype)


def _sums(
    x: Array, mask: Array | None, axis_name: AxisName | None
) -> tuple[Array, ...]:
    """Σx and Σx² over the tokens, (C,), and their number (1,)."""
    x = x.astype(jnp.float32)
    if mask is None:
        count = jnp.float32(math.prod(x.shape[:-1]))
    else:  # 0 · NaN is NaN
        mask = jnp.broadcast_to(mask.astype(bool), (*x.shape[:-1], 1))
        count = jnp.sum(mask, dtype=jnp.float32)
        x = jnp.where(mask, x, 0)
    axes = tuple(range(x.ndim - 1))
    sums = [jnp.sum(x, axes), jnp.sum(jnp.square(x), axes), count[None]]
    if axis_name:  # in one exchange
        together = lax.psum(jnp.concatenate(sums), axis_name)
        sums = jnp.split(together, (x.shape[-1], 2 * x.shape[-1]))
    return tuple(sums)
