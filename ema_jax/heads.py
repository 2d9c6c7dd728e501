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


class FCNHead(nn.Module):
    """3×3 ConvBN and classifier: the auxiliary head of OpenMMLab's networks.

    Attributes:
        num_classes: channels of the logits.
        hidden_channels: channels before the classifier.
        stage: the stage, 1 to 4, whose features it reads.
        dropout_rate, bn_decay, dtype: see `ContextHead`.

    Reference:
        Long et al., CVPR 2015, https://arxiv.org/abs/1411.4038.
    """

    num_classes: int
    hidden_channels: int = 256
    stage: int = 3
    dropout_rate: float = 0.1
    bn_decay: float = 0.9997
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, stages: tuple[Features, ...], *, train: bool) -> Array:
        """Features of the stages to logits (B, h, w, num_classes), float32."""
        x, mask = stages[self.stage - 1]
        x = head_conv(self.hidden_channels, self.bn_decay, self.dtype, "conv1")(
            x, train=train, mask=mask
        )
        return classify(x, self.num_classes, self.dropout_rate, train=train)


def head_conv(features: int, bn_decay: float, dtype: DTypeLike, name: str) -> ConvBN:
    """A 3×3 ConvBN with PyTorch's default init."""
    return ConvBN(
        features,
        3,
        bn_decay=bn_decay,
        dtype=dtype,
        kernel_init=torch_uniform,
        name=name,
    )


def classify(x: Array, num_classes: int, dropout_rate: float, *, train: bool) -> Array:
    """Channel dropout and a 1×1 convolution, in the scope of the calling module."""
    x = nn.Dropout(dropout_rate, broadcast_dims=(1, 2), deterministic=not train)(x)
    return conv(
        num_classes,
        use_bias=True,
        kernel_init=torch_uniform,
        bias_init=uniform_bias(x.shape[-1]),
        name="classifier",
    )(x.astype(jnp.float32))
