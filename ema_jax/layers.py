"""Convolutions that pad like the published networks, and know which pixels exist."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from ema_jax.batch_norm import EPSILON, BatchNorm
from ema_jax.convolution import convolve
from ema_jax.options import AxisName
from ema_jax.parameters import Conv, Dense
from ema_jax.prepare import wide_type
from ema_jax.shifts import Window

Initializer = Callable[..., Array]

he_normal_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
"""N(0, √(2/(k²·C_out))), the init of the backbone and of the attention unit."""

he_normal_depthwise = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
"""N(0, √2/k): the same where each channel has its own kernel, and one output."""

torch_uniform = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
"""U(±1/√fan_in), PyTorch's default for convolutions and the init of the head."""


def uniform_bias(fan_in: int) -> Initializer:
    """U(±1/√fan_in), PyTorch's default for the bias of a convolution."""
    bound = fan_in**-0.5

    def init(key: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def conv(
    features: int,
    kernel_size: int = 1,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    use_bias: bool = False,
    dtype: DTypeLike = jnp.float32,
    kernel_init: Initializer = he_normal_fan_out,
    bias_init: Initializer = nn.initializers.zeros,
    name: str,
) -> Conv:
    """2-D convolution with symmetric padding `dilation · (kernel-1)/2`, never "SAME".

    (B, H, W, C) to (B, ⌈H/stride⌉, ⌈W/stride⌉, features), for odd kernels. With as
    many groups as channels it is depthwise.
    """
    return Conv(
        features,
        (kernel_size, kernel_size),
        strides=stride,
        padding=dilation * (kernel_size - 1) // 2,
        kernel_dilation=dilation,
        feature_group_count=groups,
        use_bias=use_bias,
        dtype=dtype,
        kernel_init=kernel_init,
        bias_init=bias_init,
        conv_general_dilated=_convolve,
        name=name,
    )


def _convolve(
    x: Array,
    kernel: Array,
    strides: Sequence[int],
    padding: Any,
    *,
    rhs_dilation: Sequence[int],
    feature_group_count: int,
    precision: Any,
    **_: Any,
) -> Array:
    """As `nn.Conv` calls it, for the padding of `conv`."""
    window = Window(strides[0], rhs_dilation[0], feature_group_count, precision)
    return convolve(x, kernel, window)


def pointwise(
    features: int,
    dtype: DTypeLike,
    *,
    use_bias: bool = True,
    kernel_init: Initializer = he_normal_fan_out,
    bias_init: Initializer = nn.initializers.zeros,
    name: str,
) -> Dense:
    """A 1×1 convolution: a dense layer over the channels, for any rank."""
    return Dense(
        features,
        use_bias=use_bias,
        dtype=dtype,
        kernel_init=kernel_init,
        bias_init=bias_init,
        name=name,
    )


def batch_norm(
    decay: float,
    dtype: DTypeLike,
    *,
    train: bool,
    axis_name: AxisName | None = None,
    zero_init: bool = False,
    epsilon: float = EPSILON,
    name: str,
) -> BatchNorm:
    """Batch normalisation; statistics keep `decay` of the old value.

    With `zero_init` its scale starts at zero: what it is added to is left as it was.

    Under `jax.jit` with a sharded batch the statistics are those of the global batch;
    under `shard_map` or `pmap`, of the axis named `axis_name`.
    """
    initializers = nn.initializers
    scale_init = initializers.zeros if zero_init else initializers.ones
    return BatchNorm(train, decay, axis_name, dtype, scale_init, epsilon, name=name)


def subsample_mask(mask: Array | None, stride: int) -> Array | None:
    """The mask (B, H, W) at the resolution that a strided convolution leaves.

    Output pixel i is centred on input pixel i·stride, with every symmetric padding.
    """
    return None if mask is None else mask[:, ::stride, ::stride]


def hide(x: Array, mask: Array | None) -> Array:
    """`x` (..., C) with zeros where the mask (...) is false."""
    return x if mask is None else jnp.where(mask[..., None], x, 0)


def add(x: Array, y: Array) -> Array:
    """`x + y`, in the wider of two types of unlike width."""
    if x.dtype == y.dtype:
        return x + y
    dtype = wide_type(x.dtype, y.dtype)
    return x.astype(dtype) + y.astype(dtype)


class ConvBN(nn.Module):
    """Convolution without bias, batch normalisation and an activation, or None.

    Pixels outside the mask count as the zero padding and stay out of the statistics,
    so an image on a larger canvas gives what it gives alone. Variables without "bn" are
    those of `fold_batch_norm`.
    """

    features: int
    kernel_size: int = 1
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    activation: Callable[[Array], Array] | None = nn.relu
    bn_decay: float = 0.9997
    bn_epsilon: float = EPSILON
    dtype: DTypeLike = jnp.float32
    kernel_init: Initializer = he_normal_fan_out

    @nn.compact
    def __call__(self, x: Array, *, train: bool, mask: Array | None = None) -> Array:
        """(B, H, W, C) to (B, ⌈H/stride⌉, ⌈W/stride⌉, features).

        The mask (B, H, W) is that of the input.
        """
        folded = not (self.is_initializing() or self.has_variable("params", "bn"))
        if folded and train:
            raise ValueError(
                f"{'/'.join(self.path)} has its batch normalisation folded in and "
                "cannot be trained; give the variables from before fold_batch_norm"
            )
        x = conv(
            self.features,
            self.kernel_size,
            stride=self.stride,
            dilation=self.dilation,
            groups=self.groups,
            use_bias=folded,
            dtype=self.dtype,
            kernel_init=self.kernel_init,
            name="conv",
        )(hide(x, mask) if self.kernel_size > 1 else x)
        if not folded:
            x = self._normalize(x, train, subsample_mask(mask, self.stride))
        return x if self.activation is None else self.activation(x)

    def _normalize(self, x: Array, train: bool, mask: Array | None) -> Array:
        norm = batch_norm(
            self.bn_decay,
            self.dtype,
            train=train,
            epsilon=self.bn_epsilon,
            name="bn",
        )
        return norm(x, mask=None if mask is None else mask[..., None])
