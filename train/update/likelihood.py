"""The negative log-likelihood of each pixel's class, in two passes over the logits.

Classes lie before columns: what goes over them then goes along contiguous pixels. XLA
on CPUs writes down what it sums, except where it sums two arrays at once.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax

CLASSES = -2
"""Their axis, in (B, H, C, W)."""


def is_class(classes: Array, count: int) -> Array:
    """Bool (B, H, count, W): of each pixel (B, H, W), the class that it has."""
    return classes[:, :, None] == jnp.arange(count)[:, None]


@jax.custom_jvp
def negative_log(logits: Array, classes: Array, valid: Array) -> Array:
    """`-log p_y = log Σ_c exp z_c - z_y`, whose gradient is `p - 1_y`.

    Args:
        logits: (B, H, C, W) float32.
        classes: (B, H, W), integers.
        valid: (B, H, W); elsewhere is zero, whatever the logits are.

    Returns:
        (B, H, W).

    Example:
        >>> logits, classes = jnp.zeros((1, 1, 4, 1)), jnp.array([[[3]]])
        >>> negative_log(logits, classes, classes != 255)[0, 0] / jnp.log(4)
        Array([1.], dtype=float32)
    """
    return _sums(logits, classes, valid)[0]


@negative_log.defjvp
def _(
    primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]
) -> tuple[Array, Array]:
    logits, classes, valid = primals
    found, log_sum = _sums(logits, classes, valid)
    share = jnp.exp(logits - log_sum[:, :, None])
    slope = share - is_class(classes, logits.shape[CLASSES])
    slope = jnp.where(valid[:, :, None], slope, 0)
    return found, jnp.sum(slope * tangents[0], CLASSES)


def _sums(logits: Array, classes: Array, valid: Array) -> tuple[Array, Array]:
    """What `negative_log` is, and `log Σ_c exp z_c`, (B, H, W).

    `z_y` too is a sum, as TPUs read a tile for each number that is fetched.
    """
    largest = jnp.max(logits, CLASSES)
    largest = jnp.where(jnp.isfinite(largest), largest, 0)
    powers = jnp.exp(logits - largest[:, :, None])
    own = jnp.where(is_class(classes, logits.shape[CLASSES]), logits, 0)

    def add(a: tuple[Array, Array], b: tuple[Array, Array]) -> tuple[Array, Array]:
        return a[0] + b[0], a[1] + b[1]

    zero = jnp.zeros((), logits.dtype)
    total, own = lax.reduce((powers, own), (zero, zero), add, (2,))
    log_sum = largest + jnp.log(total)
    return jnp.where(valid, log_sum - own, 0), log_sum
