"""Online hard example mining: which pixels of a batch are hard."""

import jax
import jax.numpy as jnp
from jax import Array


def hard_pixels(
    pixel_loss: Array, valid: Array, threshold: float, min_kept: int
) -> Array:
    """Where the probability `exp(-loss)` is below `threshold`, and the hardest ones.

    Args:
        pixel_loss: non-negative float32, any shape: a whole batch.
        valid: of that shape, which pixels there are.
        threshold: between 0 and 1.
        min_kept: so many pixels with the largest losses are hard whatever their
            probability, and those that equal the last of them; all where there are
            fewer.

    Returns:
        Bool, of the same shape.

    Example:
        >>> loss = -jnp.log(jnp.array([0.9, 0.2, 0.8, 0.6]))
        >>> hard_pixels(loss, jnp.array([True, True, True, False]), 0.7, 2).tolist()
        [False, True, True, False]

    Reference: Shrivastava et al., Training Region-based Object Detectors with Online
    Hard Example Mining, CVPR 2016.
    """
    pixel_loss = jax.lax.stop_gradient(pixel_loss)
    hard = pixel_loss > -jnp.log(threshold)
    if min_kept > 0:
        hard |= pixel_loss >= kth_largest(pixel_loss, valid, min_kept)
    return valid & hard


def kth_largest(values: Array, valid: Array, k: int) -> Array:
    """The k-th largest of the valid values, exactly; 0 where there are fewer than k.

    Non-negative floats are ordered as their bits are, so the answer is found bit by
    bit, a count of the larger values for each. Counts add up over devices, while a
    sort of the batch would gather it.

    Args:
        values: non-negative float32, any shape.
        valid: of that shape.
        k: 1 or more.

    Example:
        >>> values = jnp.array([1.0, 5.0, 3.0])
        >>> float(kth_largest(values, values < 4, 2))
        1.0
    """
    bits = jax.lax.bitcast_convert_type(values, jnp.int32)
    bits = jnp.where(valid, bits, -1)

    def add_bit(i: Array, found: Array) -> Array:
        candidate = found | (1 << (30 - i))  # bit 31 is the sign
        return jnp.where(jnp.sum(bits >= candidate) >= k, candidate, found)

    found = jax.lax.fori_loop(0, 31, add_bit, jnp.int32(0))
    return jax.lax.bitcast_convert_type(found, jnp.float32)
