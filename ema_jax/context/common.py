"""What the context modules share: checks, tokens, and the way back to the residual."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from ema_jax.layers import Initializer, batch_norm, he_normal_fan_out, hide
from ema_jax.options import AxisName


def check_features(x: Array, mask: Array | None, *, layout: str | None = None) -> None:
    """Raise a ValueError unless `x` is (B, *spatial, C) and the mask (B, *spatial).

    Args:
        x: features.
        mask: true where a token exists, or None.
        layout: axes that `x` must have, "B H W C" say; any number of spatial axes
            by default.
    """
    if layout is not None and x.ndim != len(layout.split()):
        raise ValueError(f"x has shape {x.shape}; give ({', '.join(layout.split())})")
    if x.ndim < 3:
        raise ValueError(f"x has shape {x.shape}; give (B, *spatial, C)")
    if mask is not None and mask.shape != x.shape[:-1]:
        raise ValueError(
            f"mask has shape {mask.shape}; x of shape {x.shape} needs {x.shape[:-1]}"
        )


def check_positive(name: str, value: int | None) -> None:
    """Raise a ValueError if a count is given and is below one."""
    if value is not None and value < 1:
        raise ValueError(f"{name}={value}; give at least 1")


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
    dtype = wide_type(jnp.result_type(*operands))
    return jnp.einsum(subscripts, *operands, preferred_element_type=dtype)


def wide_type(dtype: DTypeLike) -> DTypeLike:
    """The type of sums over values of this type: float32, or wider."""
    return jnp.promote_types(dtype, jnp.float32)


def pointwise(
    features: int,
    dtype: DTypeLike,
    *,
    use_bias: bool = True,
    kernel_init: Initializer = he_normal_fan_out,
    bias_init: Initializer = nn.initializers.zeros,
    name: str,
) -> nn.Dense:
    """A 1×1 convolution: a dense layer over the channels, for any rank."""
    return nn.Dense(
        features,
        use_bias=use_bias,
        dtype=dtype,
        kernel_init=kernel_init,
        bias_init=bias_init,
        name=name,
    )


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
        initializers = nn.initializers
        return batch_norm(
            self.bn_decay,
            self.dtype,
            train=train,
            axis_name=self.axis_name,
            scale_init=initializers.zeros if self.zero_init else initializers.ones,
            name="bn",
        )(y, mask=None if mask is None else mask[..., None])
