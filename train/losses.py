"""Losses over pixels, some of which carry no label."""

from typing import Literal

import jax.numpy as jnp
import optax
from jax import Array

IGNORE_LABEL = 255

PixelMean = Literal["all", "valid"]


def segmentation_loss(
    logits: Array, labels: Array, *, pixel_mean: PixelMean = "all"
) -> Array:
    """Softmax cross-entropy of a batch; pixels labelled 255 count nothing.

    "all", as the released code: `mean_b (1/HW) Σ_n ce_bn`, where ignored pixels add
    zero but are counted. "valid": `Σ_bn ce_bn / max(1, number of valid pixels)`.

    Args:
        logits: (B, H, W, num_classes).
        labels: (B, H, W), integers.
        pixel_mean: "all" or "valid".

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
    total = jnp.sum(pixel_loss, where=valid)
    count = labels.size if pixel_mean == "all" else jnp.maximum(jnp.sum(valid), 1)
    return total / count
