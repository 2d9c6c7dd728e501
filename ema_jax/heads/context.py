"""The head of EMANet, with any context module."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from ema_jax.backbones import Features
from ema_jax.heads.common import classify, head_conv
from ema_jax.layers import ConvBN


class ContextHead(nn.Module):
    """The head of EMANet: 3×3 ConvBN, a context module, 3×3 ConvBN, classifier.

    Attributes:
        context: module (features, *, train, mask) -> features, such as `EMAU`.
        num_classes: channels of the logits.
        channels: channels that the context module sees.
        hidden_channels: channels before the classifier.
        dropout_rate: of whole channels, before the classifier.
        bn_decay: share of the old running statistics that BN keeps.
        dtype: compute type of the convolutions; the logits are float32.
        concat_input: one more 3×3 ConvBN before the classifier, on the features of
            the backbone beside the hidden channels (OpenMMLab).
    """

    context: nn.Module
    num_classes: int
    channels: int = 512
    hidden_channels: int = 256
    dropout_rate: float = 0.1
    bn_decay: float = 0.9997
    dtype: DTypeLike = jnp.float32
    concat_input: bool = False

    @nn.compact
    def __call__(self, stages: tuple[Features, ...], *, train: bool) -> Array:
        """Features of the stages to logits (B, h, w, num_classes), float32."""
        features, mask = stages[-1]
        x = self._conv_bn(self.channels, "reduce")(features, train=train, mask=mask)
        x = self.context(x, train=train, mask=mask)
        x = self._conv_bn(self.hidden_channels, "expand")(x, train=train, mask=mask)
        if self.concat_input:
            x = jnp.concatenate([features.astype(x.dtype), x], axis=-1)
            x = self._conv_bn(self.hidden_channels, "fuse")(x, train=train, mask=mask)
        return classify(x, self.num_classes, self.dropout_rate, train=train)

    def _conv_bn(self, features: int, name: str) -> ConvBN:
        return head_conv(features, self.bn_decay, self.dtype, name)
