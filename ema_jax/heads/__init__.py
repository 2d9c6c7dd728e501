"""Heads: features of the backbone to logits."""

from ema_jax.heads.common import classify, head_conv
from ema_jax.heads.context import ContextHead
from ema_jax.heads.deeplab import ASPP, DeepLabV3Head, DeepLabV3PlusHead
from ema_jax.heads.fcn import FCNHead
from ema_jax.heads.psa import PSAHead

__all__ = [
    "ASPP",
    "ContextHead",
    "DeepLabV3Head",
    "DeepLabV3PlusHead",
    "FCNHead",
    "PSAHead",
    "classify",
    "head_conv",
]
