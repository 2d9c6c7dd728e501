"""From the bytes of an image to the input of a network, on the device."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import jax.numpy as jnp
from jax import Array

Channels = tuple[float, float, float]


@dataclass(frozen=True)
class Preprocessing:
    """`(RGB/255 - mean) / std`, as the weights of a network expect it.

    Attributes:
        mean, std: of red, green and blue, in parts of 255.

    Example:
        >>> image = jnp.full((1, 1, 1, 3), 255, jnp.uint8)
        >>> halves = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> halves.normalize(image, jnp.ones((1, 1, 1), bool))
        Array([[[[1., 1., 1.]]]], dtype=float32)
    """

    mean: Channels
    std: Channels

    def normalize(self, images: Array, mask: Array) -> Array:
        """Normalised images, and zero where the mask is false.

        Args:
            images: (B, H, W, 3), uint8.
            mask: (B, H, W), true on the image.
        """
        scaled = images.astype(jnp.float32) / 255
        normalized = (scaled - jnp.array(self.mean)) / jnp.array(self.std)
        return jnp.where(mask[..., None], normalized, 0)

    def to_json(self) -> dict[str, Any]:
        """Plain lists."""
        return {name: list(values) for name, values in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Preprocessing":
        """The inverse of `to_json`."""
        red_green_blue = {name: tuple(map(float, values[name])) for name in _FIELDS}
        return cls(**red_green_blue)  # type: ignore[arg-type]


_FIELDS = ("mean", "std")

IMAGENET = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""That of the published networks."""
