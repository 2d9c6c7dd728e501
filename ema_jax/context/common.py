"""What the context modules share: tokens, sums, and the way back to the residual."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from ema_jax.layers import (
    Initializer,
    batch_norm,
    he_normal_fan_out,
    hide,
    pointwise,
)
from ema_jax.options import AxisName
from ema_jax.prepare import wide_type


def to_tokens(x: Array, mask: Array | None) -> tuple[Array, Array | None]:
    """(B, *spatial, C) and (B, *spatial) to (B, N, C), absent ones 0, and (B, N)."""
    tokens = hide(x, mask).reshape(x.shape[0], -1, x.shape[-1])
    return tokens, None if mask is None else mask.reshape(tokens.shape[:-1])


def softmax(logits: Array, axis: int, where: Array | None = None) -> Array:
    """Softmax in float32 or wider; zeros where `where` is false, and no NaN.

    Example:
        >>> softmax(jnp.zeros((2, 2)), -1, jnp.array([[True, False], [False, False]]))
        Array([[1., 0.],
               [0., 0.]], dtype=float32)
    """
    wide = logits.astype(wide_type(logits.dtype))
    return jax.nn.softmax(wide, axis, where=where)


def contract(subscripts: str, *operands: Array) -> Array:
    """`jnp.einsum` whose sums and result are float32 or wider."""
    dtype = wide_type(*(operand.dtype for operand in operands))
    return jnp.einsum(subscripts, *operands, preferred_element_type=dtype)


class PointwiseBN(nn.Module):
    """`BN(W y)`, the last step of a module before its residual; for any rank.

    Attributes:
        features: channels of the output.
        zero_init: start the scale of BN at zero, so that the output is zero.
        bn_decay: share of the old running statistics that BN keeps.
        axis_name: mapped axis over which the batch is split, if any.
        dtype: compute type.
        kernel_init: of W.
    """

    features: int
    zero_init: bool = False
    bn_decay: float = 0.9997
    axis_name: AxisName | None = None
    dtype: DTypeLike = jnp.float32
    kernel_init: Initializer = he_normal_fan_out

    @nn.compact
    def __call__(self, y: Array, *, train: bool, mask: Array | None = None) -> Array:
        """(B, *spatial, D) to (B, *spatial, features); the mask is (B, *spatial)."""
        y = pointwise(
            self.features,
            self.dtype,
            use_bias=False,
            kernel_init=self.kernel_init,
            name="conv",
        )(y)
        return batch_norm(
            self.bn_decay,
            self.dtype,
            train=train,
            axis_name=self.axis_name,
            zero_init=self.zero_init,
            name="bn",
        )(y, mask=None if mask is None else mask[..., None])
