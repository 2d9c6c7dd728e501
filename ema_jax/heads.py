"""Heads: features of the backbone to logits."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from ema_jax.layers import ConvBN, conv, torch_uniform, uniform_bias
from ema_jax.resnet import Features


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
    """

    context: nn.Module
    num_classes: int
    channels: int = 512
    hidden_channels: int = 256
    dropout_rate: float = 0.1
    bn_decay: float = 0.9997
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, stages: tuple[Features, ...], *, train: bool) -> Array:
        """Features of the stages to logits (B, h, w, num_classes), float32."""
        x, mask = stages[-1]
        x = self._conv_bn(self.channels, "reduce")(x, train=train, mask=mask)
        x = self.context(x, train=train, mask=mask)
        x = self._conv_bn(self.hidden_channels, "expand")(x, train=train, mask=mask)
        x = nn.Dropout(
            self.dropout_rate, broadcast_dims=(1, 2), deterministic=not train
        )(x)
        return conv(
            self.num_classes,
            use_bias=True,
            kernel_init=torch_uniform,
            bias_init=uniform_bias(self.hidden_channels),
            name="classifier",
        )(x.astype(jnp.float32))

    def _conv_bn(self, features: int, name: str) -> ConvBN:
        return ConvBN(
            features,
            3,
            bn_decay=self.bn_decay,
            dtype=self.dtype,
            kernel_init=torch_uniform,
            name=name,
        )
