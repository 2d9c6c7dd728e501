"""The stored bases μ⁰: their init, their heads and their moving average."""

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from ema_jax.components import normalize
from ema_jax.options import AxisName


def split_heads(x: Array, num_heads: int) -> Array:
    """(..., N, C) to (..., num_heads, N, C/num_heads); one head adds no axis."""
    if num_heads == 1:
        return x
    return jnp.moveaxis(x.reshape(*x.shape[:-1], num_heads, -1), -2, -3)


def join_heads(x: Array, num_heads: int) -> Array:
    """The inverse of `split_heads`."""
    if num_heads == 1:
        return x
    x = jnp.moveaxis(x, -3, -2)
    return x.reshape(*x.shape[:-2], -1)


def unit_bases(bases: Array, num_heads: int = 1) -> Array:
    """Bases (..., K, C) of unit L2 norm in the channels of each head.

    Example:
        >>> unit_bases(jnp.array([[3.0, 4.0, 0.0, 2.0]]), num_heads=2).round(3)
        Array([[0.6, 0.8, 0. , 1. ]], dtype=float32)
    """
    return join_heads(normalize(split_heads(bases, num_heads), "l2"), num_heads)


def bases_init(
    key: Array, shape: tuple[int, int], dtype: DTypeLike, num_heads: int = 1
) -> Array:
    """N(0, √(2/K)) per entry, then unit L2 norm in each head; (K, C)."""
    drawn = jax.random.normal(key, shape, dtype) * (2 / shape[0]) ** 0.5
    return unit_bases(drawn, num_heads)


def moving_average(
    old: Array,
    bases: Array,
    *,
    decay: float,
    counted: Array | None = None,
    num_heads: int = 1,
    normalize_batch_mean: bool = False,
    renormalize_average: bool = False,
    axis_name: AxisName | None = None,
) -> Array:
    """μ⁰ after a batch: `μ⁰ ← α μ⁰ + (1-α) · mean over the images of μ`.

    Args:
        old: μ⁰ (K, C).
        bases: μ with which each image ended, (B, K, C).
        decay: α.
        counted: (B,), true for the images that enter the mean; if none does, μ⁰ stays.
        num_heads: heads of the channels, for the two normalisations.
        normalize_batch_mean: give the batch mean unit norm.
        renormalize_average: give the result unit norm.
        axis_name: mapped axis over which the images are split, if any.

    Example:
        >>> old, bases = jnp.zeros((1, 2)), jnp.array([[[1.0, 0.0]], [[9.0, 9.0]]])
        >>> moving_average(old, bases, decay=0.9, counted=jnp.array([True, False]))
        Array([[0.1, 0. ]], dtype=float32)
    """
    if counted is None:
        counted = jnp.ones(bases.shape[0], bool)
    total = jnp.sum(jnp.where(counted[:, None, None], bases, 0), axis=0)
    count = jnp.sum(counted, dtype=jnp.float32)
    if axis_name is not None:
        total, count = lax.psum((total, count), axis_name)
    mean = total / jnp.maximum(count, 1)
    if normalize_batch_mean:
        mean = unit_bases(mean, num_heads)
    new = decay * old + (1 - decay) * mean
    if renormalize_average:
        new = unit_bases(new, num_heads)
    return jnp.where(count > 0, new, old).astype(old.dtype)
