"""What heads share: convolutions and the classifier."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from ema_jax.layers import ConvBN, conv, torch_uniform, uniform_bias
from ema_jax.options import check_count


def head_conv(
    features: int,
    bn_decay: float,
    dtype: DTypeLike,
    name: str,
    *,
    kernel_size: int = 3,
    dilation: int = 1,
) -> ConvBN:
    """A ConvBN, 3×3 unless told otherwise, with PyTorch's default init."""
    check_count(f"channels of {name!r}", features)
    return ConvBN(
        features,
        kernel_size,
        dilation=dilation,
        bn_decay=bn_decay,
        dtype=dtype,
        kernel_init=torch_uniform,
        name=name,
    )


def classify(
    x: Array,
    num_classes: int,
    dropout_rate: float,
    *,
    train: bool,
    name: str = "classifier",
) -> Array:
    """Channel dropout and a 1×1 convolution, in the scope of the calling module."""
    check_count("num_classes", num_classes)
    x = nn.Dropout(dropout_rate, broadcast_dims=(1, 2), deterministic=not train)(x)
    return conv(
        num_classes,
        use_bias=True,
        kernel_init=torch_uniform,
        bias_init=uniform_bias(x.shape[-1]),
        name=name,
    )(x.astype(jnp.float32))
