"""What heads share: convolutions, the classifier, and a larger resolution."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from ema_jax.layers import ConvBN, conv, torch_uniform, uniform_bias


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
    return ConvBN(
        features,
        kernel_size,
        dilation=dilation,
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


def double(x: Array, mask: Array | None, like: Array) -> Array:
    """Twice the resolution: pixel 2i is pixel i, the one between two is their mean.

    The inverse of `subsample_mask(…, 2)` in size. With sides 2n-1 it is bilinear with
    aligned corners. At an even side, and where the mask ends, the last pixel repeats.

    Args:
        x: (B, h, w, C).
        mask: (B, h, w), true on the image, at the top left.
        like: (B, H, W, …), whose sides are twice those of `x` or one less.

    Returns:
        (B, H, W, C), with any values where no image is.

    Example:
        >>> double(jnp.array([[[[0.0], [1.0]]]]), None, jnp.ones((1, 1, 4)))[0, 0, :, 0]
        Array([0. , 0.5, 1. , 1. ], dtype=float32)
    """
    present = jnp.ones(x.shape[:3], bool) if mask is None else mask
    x, present = _double_rows(x, present)
    x, _ = _double_rows(x.swapaxes(1, 2), present.swapaxes(1, 2))
    return x.swapaxes(1, 2)[:, : like.shape[1], : like.shape[2]]


def _double_rows(x: Array, present: Array) -> tuple[Array, Array]:
    """(B, h, w, C) and (B, h, w) to (B, 2h, w, C) and (B, 2h, w)."""
    after, follows = (
        jnp.concatenate([rows[:, 1:], rows[:, -1:]], axis=1) for rows in (x, present)
    )
    between = jnp.where(follows[..., None], (x + after) / 2, x)
    batch, height, *rest = x.shape
    rows = jnp.stack([x, between], axis=2).reshape(batch, 2 * height, *rest)
    return rows, jnp.repeat(present, 2, axis=1)
