"""From the bytes of an image to the input of a network, on the device."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import jax.numpy as jnp
from jax import Array


@dataclass(frozen=True)
class Preprocessing:
    """`(image/255 - mean) / std`, as the weights of a network expect it.

    Attributes:
        mean, std: of each channel, red, green and blue if there are three, in parts of
            255.
        value_range: what became 0 and 255 in images of more than 8 bits, if there were
            any.

    Example:
        >>> image = jnp.full((1, 1, 1, 3), 255, jnp.uint8)
        >>> halves = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> halves.normalize(image, jnp.ones((1, 1, 1), bool))
        Array([[[[1., 1., 1.]]]], dtype=float32)
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    value_range: tuple[float, float] | None = None

    def normalize(self, images: Array, mask: Array) -> Array:
        """Normalised images, and zero where the mask is false.

        Args:
            images: (B, H, W, C), uint8.
            mask: (B, H, W), true on the image.
        """
        scaled = images.astype(jnp.float32) / 255
        normalized = (scaled - jnp.array(self.mean)) / jnp.array(self.std)
        return jnp.where(mask[..., None], normalized, 0)

    def to_json(self) -> dict[str, Any]:
        """Plain lists."""
        return {name: list(x) for name, x in asdict(self).items() if x is not None}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Preprocessing":
        """The inverse of `to_json`."""
        mean, std = (tuple(map(float, values[name])) for name in ("mean", "std"))
        stated = values.get("value_range")
        return cls(mean, std, None if stated is None else (stated[0], stated[1]))

    def over(self, channels: int) -> "Preprocessing":
        """Of images of so many channels: if others than these, their mean for each.

        Example:
            >>> Preprocessing(mean=(0.25, 0.5, 0.75), std=(0.5, 0.5, 0.5)).over(1).mean
            (0.5,)
        """
        if channels == len(self.mean):
            return self
        mean, std = (sum(x) / len(x) for x in (self.mean, self.std))
        return Preprocessing((mean,) * channels, (std,) * channels)


IMAGENET = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""That of the published networks."""
