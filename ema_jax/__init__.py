"""EM attention and EMANet semantic segmentation in JAX and Flax."""

from ema_jax.em import EMAttention, em_attention
from ema_jax.emau import EMAU
from ema_jax.models import MODELS
from ema_jax.resnet import ResNet
from ema_jax.segmenter import EMANet, Segmenter

__all__ = [
    "EMAU",
    "MODELS",
    "EMANet",
    "EMAttention",
    "ResNet",
    "Segmenter",
    "em_attention",
]
