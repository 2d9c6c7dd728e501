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


def align_mask(mask: Array, stride: int) -> Array:
    """Extend each image to sides `stride·k + 1`, as evaluation pads it with zeros.

    The network then sees exactly what it sees when that image is alone.

    Args:
        mask: (B, H, W), true on an image at the top left; H and W are 1 modulo stride.
        stride: the output stride of the network.
    """

    def extend(any_pixel: Array) -> Array:
        size = jnp.sum(any_pixel, axis=-1, keepdims=True)
        aligned = jnp.where(size > 0, -(-(size - 1) // stride) * stride + 1, 0)
        return jnp.arange(any_pixel.shape[-1]) < aligned

    rows, columns = extend(mask.any(axis=2)), extend(mask.any(axis=1))
    return rows[:, :, None] & columns[:, None, :]
