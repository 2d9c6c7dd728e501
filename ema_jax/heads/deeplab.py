"""The heads of DeepLabV3 and DeepLabV3+."""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from ema_jax.backbones import Features
from ema_jax.heads.common import classify, head_conv
from ema_jax.heads.decoder import decode

RATES = (12, 24, 36)
"""Dilations of the pyramid at output stride 8; half of them at stride 16."""


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling.

    `y = P [C₁ x, C₃(r₁) x, C₃(r₂) x, C₃(r₃) x, broadcast(G mean(x))]`, where C₁, G and
    P are 1×1 and C₃(r) 3×3 convolutions of dilation r, each with BN and ReLU.

    Attributes:
        channels: of each branch and of the output.
        rates: dilations r.
        image_pooling: have the last branch; the mean is over the pixels that exist.
        bn_decay: share of the old running statistics that BN keeps.
        dtype: compute type of the convolutions.

    Example:
        >>> import jax
        >>> x = jnp.ones((2, 9, 5, 8))
        >>> pyramid = ASPP(channels=4, rates=(1, 2, 3))
        >>> pyramid.init_with_output(jax.random.key(0), x, train=False)[0].shape
        (2, 9, 5, 4)

    Reference:
        Chen et al., https://arxiv.org/abs/1706.05587, section 3.3.
    """

    channels: int = 256
    rates: tuple[int, ...] = RATES
    image_pooling: bool = True
    bn_decay: float = 0.9997
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool, mask: Array | None = None) -> Array:
        """Features (B, H, W, C) and their mask (B, H, W) to (B, H, W, channels)."""
        conv_bn = partial(head_conv, self.channels, self.bn_decay, self.dtype)
        branches = [conv_bn("conv1", kernel_size=1)(x, train=train, mask=mask)]
        for i, rate in enumerate(self.rates, start=2):
            convolution = conv_bn(f"conv{i}", dilation=rate)
            branches.append(convolution(x, train=train, mask=mask))
        if self.image_pooling:
            exists = None if mask is None else mask.any((1, 2), keepdims=True)
            pooled = conv_bn("pool", kernel_size=1)(
                spatial_mean(x, mask), train=train, mask=exists
            )
            branches.append(jnp.broadcast_to(pooled, branches[0].shape))
        x = jnp.concatenate(branches, axis=-1)
        return conv_bn("project", kernel_size=1)(x, train=train, mask=mask)


class DeepLabV3Head(nn.Module):
    """The head of DeepLabV3: `ASPP` and classifier.

    Over ResNet-101 it adds 15.5 M parameters and 63.4 G multiply-adds at 513², the
    figures of the EMANet paper: `(2·2048 + 3·9·2048 + 5·256)·256` weights.

    Attributes:
        num_classes: channels of the logits.
        channels: of each branch of the pyramid and before the classifier.
        rates: dilations of the pyramid: (12, 24, 36) at output stride 8, half of them
            at stride 16.
        image_pooling: see `ASPP`.
        dropout_rate: of whole channels, before the classifier.
        bn_decay: share of the old running statistics that BN keeps.
        dtype: compute type of the convolutions; the logits are float32.

    Reference:
        Chen et al., https://arxiv.org/abs/1706.05587.
    """

    num_classes: int
    channels: int = 256
    rates: tuple[int, ...] = RATES
    image_pooling: bool = True
    dropout_rate: float = 0.1
    bn_decay: float = 0.9997
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, stages: tuple[Features, ...], *, train: bool) -> Array:
        """Features of the stages to logits (B, h, w, num_classes), float32."""
        x = self.pyramid(stages[-1], train=train)
        return classify(x, self.num_classes, self.dropout_rate, train=train)

    def pyramid(self, features: Features, *, train: bool) -> Array:
        """`ASPP` of the last features, in the scope of the calling module."""
        return ASPP(
            self.channels,
            self.rates,
            self.image_pooling,
            self.bn_decay,
            self.dtype,
            name="aspp",
        )(features.x, train=train, mask=features.mask)


class DeepLabV3PlusHead(DeepLabV3Head):
    """The head of DeepLabV3+: `ASPP`, refined beside the features of stage 1.

    `logits = classify(C₃ C₃ [C₁ x₁, upsample(ASPP(x₄))])` at stride 4.

    Over ResNet-101 it adds 16.84 M parameters and 85.1 G multiply-adds at 513². The
    EMANet paper has 16.3 M and 84.1 G, too few for `DeepLabV3Head`'s 15.5 M and the
    1.3 M of the decoder; without image pooling they are 16.25 M and 84.8 G.

    Attributes:
        channels: of each branch of the pyramid, and of the two convolutions after it.
        low_level_channels: to which stage 1 is reduced.
        The others: see `DeepLabV3Head`.

    Reference:
        Chen et al., ECCV 2018, https://arxiv.org/abs/1802.02611.
    """

    low_level_channels: int = 48

    @nn.compact
    def __call__(self, stages: tuple[Features, ...], *, train: bool) -> Array:
        """Features of the stages to logits (B, h, w, num_classes), at stride 4."""
        x = decode(
            self.pyramid(stages[-1], train=train),
            stages[0],
            low_level_channels=self.low_level_channels,
            channels=self.channels,
            bn_decay=self.bn_decay,
            dtype=self.dtype,
            train=train,
        )
        return classify(x, self.num_classes, self.dropout_rate, train=train)


def spatial_mean(x: Array, mask: Array | None) -> Array:
    """Mean (B, 1, 1, C) of the pixels that exist, summed in float32; 0 of none."""
    where = None if mask is None else mask[..., None]
    total = jnp.sum(x, (1, 2), jnp.float32, keepdims=True, where=where)
    count = x.shape[1] * x.shape[2] if mask is None else mask.sum((1, 2))
    count = jnp.asarray(count, total.dtype)
    return (total / jnp.maximum(count, 1).reshape(-1, 1, 1, 1)).astype(x.dtype)
