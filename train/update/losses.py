"""Losses over pixels, some of which carry no label."""

from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jax import Array

from train.data.access import IGNORE_LABEL

PixelMean = Literal["all", "valid"]


def segmentation_loss(
    logits: Array,
    labels: Array,
    *,
    canvas: Array | None = None,
    pixel_mean: PixelMean = "all",
    ohem_threshold: float | None = None,
    ohem_min_kept: int = 0,
) -> Array:
    """Softmax cross-entropy of a batch; pixels labelled 255 count nothing.

    "all", as the released code: `mean_b (1/HW) Σ_n ce_bn`, where ignored pixels add
    zero but are counted. "valid": `Σ_bn ce_bn / max(1, number of valid pixels)`.

    With a threshold, online hard example mining: only `hard_pixels` are valid.

    Args:
        logits: (B, H, W, num_classes).
        labels: (B, H, W), integers.
        canvas: (B, H, W), false where no image lies and no label is; None: images
            fill the batch.
        pixel_mean: "all" or "valid".
        ohem_threshold: None, or the probability of its class below which a pixel is
            hard.
        ohem_min_kept: at least so many pixels of the batch are taken as hard.

    Returns:
        A float32 scalar; zero when no pixel is valid.

    Example:
        >>> logits = jnp.zeros((1, 1, 2, 4))
        >>> labels = jnp.array([[[3, 255]]])
        >>> float(segmentation_loss(logits, labels)) / jnp.log(4)
        Array(0.5, dtype=float32, weak_type=True)
        >>> float(segmentation_loss(logits, labels, pixel_mean="valid")) / jnp.log(4)
        Array(1., dtype=float32, weak_type=True)
    """
    valid = labels != IGNORE_LABEL
    classes = jnp.where(valid, labels, 0).astype(jnp.int32)
    pixel_loss = optax.losses.softmax_cross_entropy_with_integer_labels(
        logits.astype(jnp.float32), classes
    )
    if ohem_threshold is not None:
        valid = hard_pixels(pixel_loss, valid, ohem_threshold, ohem_min_kept)
    total = jnp.sum(pixel_loss, where=valid)
    if pixel_mean == "valid":
        return total / jnp.maximum(jnp.sum(valid), 1)
    return total / (labels.size if canvas is None else jnp.sum(canvas))


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
