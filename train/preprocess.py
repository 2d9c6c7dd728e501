"""From the bytes of a batch to the input of the network, on the device."""

import jax.numpy as jnp
from jax import Array

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def normalize_images(images: Array, mask: Array) -> Array:
    """`(RGB/255 - mean) / std`, and zero where the mask is false.

    Args:
        images: (B, H, W, 3), uint8.
        mask: (B, H, W), true on the image.
    """
    normalized = (images.astype(jnp.float32) / 255 - jnp.array(MEAN)) / jnp.array(STD)
    return jnp.where(mask[..., None], normalized, 0)
