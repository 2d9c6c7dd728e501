"""EM attention for models of Flax NNX; its weights are those of the Linen unit."""

from ema_jax.nnx.batch_norm import BatchNorm
from ema_jax.nnx.emau import EMAU
from ema_jax.nnx.weights import from_linen, to_linen

__all__ = ["EMAU", "BatchNorm", "from_linen", "to_linen"]
