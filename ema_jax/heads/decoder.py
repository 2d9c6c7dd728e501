"""The decoder of DeepLabV3+: what is known at a coarse stride, drawn at stride 4."""

import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from ema_jax.backbones import Features
from ema_jax.enlarge import enlarge
from ema_jax.heads.common import head_conv


def decode(
    x: Array,
    stage: Features,
    *,
    low_level_channels: int,
    channels: int,
    bn_decay: float,
    dtype: DTypeLike,
    train: bool,
) -> Array:
    """`C₃ C₃ [C₁ x₁, enlarge(x)]`, in the scope of the calling module.

    Args:
        x: (B, h, w, C).
        stage: the features x₁ beside it, with 2ⁿ times the height and width.
        low_level_channels: to which those are reduced.
        channels: of the two convolutions.
        bn_decay, dtype, train: see the heads.

    Returns:
        (B, H, W, channels), as large as the stage.

    Reference:
        Chen et al., ECCV 2018, https://arxiv.org/abs/1802.02611.
    """
    low, mask = stage
    low = head_conv(low_level_channels, bn_decay, dtype, "low_level", kernel_size=1)(
        low, train=train, mask=mask
    )
    x = jnp.concatenate([low, enlarge(x, mask, low)], axis=-1)
    for name in ("refine1", "refine2"):
        x = head_conv(channels, bn_decay, dtype, name)(x, train=train, mask=mask)
    return x
