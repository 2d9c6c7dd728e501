"""No context at all: the baseline of every comparison."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from ema_jax.options import check_features


class NoContext(nn.Module):
    """`y = x`: no parameters, no cost.

    Attributes:
        bn_decay, dtype: taken so that every context module can be built alike; there
            is nothing here to apply them to.

    Raises:
        ValueError: an input of fewer than three axes, a mask whose shape is not that
            of the tokens.

    Example:
        >>> x = jnp.ones((2, 9, 9, 16))
        >>> bool((NoContext().apply({}, x, train=True) == x).all())
        True
    """

    bn_decay: float = 0.9997
    dtype: DTypeLike = jnp.float32

    def __call__(self, x: Array, *, train: bool, mask: Array | None = None) -> Array:
        """Features (B, *spatial, C) as they are."""
        check_features(x, mask)
        return x
