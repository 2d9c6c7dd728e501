"""The head of fully convolutional networks, which is also the auxiliary one."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from ema_jax.backbones import Features
from ema_jax.heads.common import classify, head_conv
from ema_jax.options import check_option


class FCNHead(nn.Module):
    """3×3 ConvBN and classifier: the auxiliary head of OpenMMLab's networks.

    Attributes:
        num_classes: channels of the logits.
        hidden_channels: channels before the classifier.
        stage: the stage, 1 to 4, whose features it reads.
        dropout_rate, bn_decay, dtype: see `ContextHead`.

    Raises:
        ValueError: another stage.

    Example:
        >>> import jax
        >>> stages = tuple((jnp.ones((1, 5, 5, 4)), None) for _ in range(4))
        >>> head = FCNHead(num_classes=3, hidden_channels=8)
        >>> head.init_with_output(jax.random.key(0), stages, train=False)[0].shape
        (1, 5, 5, 3)

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
        check_option("stage", self.stage, tuple(range(1, len(stages) + 1)))
        x, mask = stages[self.stage - 1]
        x = head_conv(self.hidden_channels, self.bn_decay, self.dtype, "conv1")(
            x, train=train, mask=mask
        )
        return classify(x, self.num_classes, self.dropout_rate, train=train)
