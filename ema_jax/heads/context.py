"""The head of EMANet, with any context module."""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from ema_jax.backbones import Features
from ema_jax.enlarge import enlarge
from ema_jax.heads.common import classify, head_conv
from ema_jax.heads.decoder import decode
from ema_jax.layers import ConvBN


class ContextHead(nn.Module):
    """The head of EMANet: 3×3 ConvBN, a context module, 3×3 ConvBN, classifier.

    `C₁ dropout(C₃ context(C₃ x₄))`; with a decoder `C₁ decode(x, x₁)`, to which
    `coarse_logits` adds the enlarged `C₁ x` of what it begins with.

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
        decoder_channels: refine at stride 4, by DeepLabV3+'s decoder with so many
            channels and half as many of stage 1, so that small things and borders are
            found; None: the logits are those of the last stage.
        coarse_logits: add the logits of the last stage, enlarged, to the decoder's,
            which then has only the detail to learn. Without a decoder they are all
            there is.
    """

    context: nn.Module
    num_classes: int
    channels: int = 512
    hidden_channels: int = 256
    dropout_rate: float = 0.1
    bn_decay: float = 0.9997
    dtype: DTypeLike = jnp.float32
    concat_input: bool = False
    decoder_channels: int | None = None
    coarse_logits: bool = False

    @nn.compact
    def __call__(self, stages: tuple[Features, ...], *, train: bool) -> Array:
        """Features of the stages to logits (B, h, w, num_classes), float32.

        They have the stride of the last stage, or 4 behind a decoder.
        """
        features, mask = stages[-1]
        x = self._conv_bn(self.channels, "reduce")(features, train=train, mask=mask)
        x = self.context(x, train=train, mask=mask)
        x = self._conv_bn(self.hidden_channels, "expand")(x, train=train, mask=mask)
        if self.concat_input:
            x = jnp.concatenate([features.astype(x.dtype), x], axis=-1)
            x = self._conv_bn(self.hidden_channels, "fuse")(x, train=train, mask=mask)
        classifier = partial(
            classify,
            num_classes=self.num_classes,
            dropout_rate=self.dropout_rate,
            train=train,
        )
        if self.decoder_channels is None:
            return classifier(x)
        low = stages[0]
        narrow = self._conv_bn(self.decoder_channels, "narrow", 1)
        refined = decode(
            narrow(x, train=train, mask=mask),
            low,
            low_level_channels=-(-self.decoder_channels // 2),
            channels=self.decoder_channels,
            bn_decay=self.bn_decay,
            dtype=self.dtype,
            train=train,
        )
        logits = classifier(refined)
        if self.coarse_logits:
            coarse = classifier(x, name="coarse_classifier")
            logits += enlarge(coarse, low.mask, low.x)
        return logits

    def _conv_bn(self, features: int, name: str, kernel_size: int = 3) -> ConvBN:
        return head_conv(
            features, self.bn_decay, self.dtype, name, kernel_size=kernel_size
        )
