"""What a backbone gives its heads."""

from typing import NamedTuple

from jax import Array


class Features(NamedTuple):
    """The output of one stage: (B, h, w, C), and the mask (B, h, w) at its size."""

    x: Array
    mask: Array | None
