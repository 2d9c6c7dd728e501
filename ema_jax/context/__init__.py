"""What may stand in the place of `EMAU`: modules with one call and one shape.

`module(x, *, train, mask=None)`: features (B, *spatial, C) to the same shape.
"""

from collections.abc import Callable

import flax.linen as nn

from ema_jax.context.criss_cross import CrissCrossAttention
from ema_jax.context.double_attention import DoubleAttention
from ema_jax.context.external_attention import ExternalAttention
from ema_jax.context.hamburger import Hamburger
from ema_jax.context.identity import NoContext
from ema_jax.context.non_local import NonLocal

CONTEXTS: dict[str, Callable[..., nn.Module]] = {
    "none": NoContext,
    "non_local": NonLocal,
    "double_attention": DoubleAttention,
    "external_attention": ExternalAttention,
    "criss_cross": CrissCrossAttention,
    "hamburger": Hamburger,
}
"""Name to constructor; all take `bn_decay` and `dtype`."""

__all__ = [
    "CONTEXTS",
    "CrissCrossAttention",
    "DoubleAttention",
    "ExternalAttention",
    "Hamburger",
    "NoContext",
    "NonLocal",
]
