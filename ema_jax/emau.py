"""The EMA unit: EM attention between two 1×1 convolutions, with a residual."""

from typing import Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from ema_jax.em import (
    Gradient,
    Kernel,
    Normalization,
    check_option,
    em_attention,
    normalize,
)
from ema_jax.layers import batch_norm, he_normal_fan_out

BasesUpdate = Literal["moving_average", "gradient", "none"]


def bases_init(key: Array, shape: tuple[int, int], dtype: DTypeLike) -> Array:
    """N(0, √(2/K)) per entry, then unit L2 norm over the channels; (K, C)."""
    return normalize(jax.random.normal(key, shape, dtype) * (2 / shape[0]) ** 0.5, "l2")


class EMAU(nn.Module):
    """Expectation-maximization attention unit.

    `y = ReLU(x + BN(W₂ ReLU(EM(W₁ x + b₁))))`, where EM replaces every token by its
    projection on K bases; see `em_attention`. Every image starts from the stored
    bases μ⁰ and has its own EM.

    The bases live in the collection `batch_stats`, as the statistics of
    `nn.BatchNorm` do, and are updated by `train=True` calls with that collection
    mutable: `μ⁰ ← α μ⁰ + (1-α) · mean over the batch of μ`. Under `jax.jit` the batch
    is the global one; under `shard_map` or `pmap` name the axis in `axis_name`.

    Attributes:
        num_bases: K.
        num_iters: T, EM iterations in training.
        eval_iters: T when `train=False`; `num_iters` by default.
        bases_decay: α of the moving average.
        bases_update: "moving_average"; "gradient" trains μ⁰ as a parameter (give a
            `gradient` other than "stop"); "none" keeps the initial μ⁰.
        normalize_batch_mean: L2-normalise the batch mean before the moving average.
        kernel, normalization, gradient, temperature: see `em_attention`.
        bn_decay: share of the old running statistics that BN keeps.
        axis_name: mapped axis over which the batch is split, if any.
        dtype: compute type. Parameters, statistics and EM sums are float32.

    Raises:
        ValueError: `num_bases` < 1, an input of fewer than three axes, a mask whose
            shape is not that of the tokens, an unknown option.

    Example:
        >>> unit = EMAU(num_bases=4)
        >>> x = jax.random.normal(jax.random.key(0), (2, 9, 9, 16))
        >>> variables = unit.init(jax.random.key(1), x, train=False)
        >>> y, updates = unit.apply(variables, x, train=True, mutable=["batch_stats"])
        >>> y.shape, updates["batch_stats"]["bases"].shape
        ((2, 9, 9, 16), (4, 16))

    Reference:
        Li et al., ICCV 2019, https://arxiv.org/abs/1907.13426, section 3.
    """

    num_bases: int = 64
    num_iters: int = 3
    eval_iters: int | None = None
    bases_decay: float = 0.9
    bases_update: BasesUpdate = "moving_average"
    normalize_batch_mean: bool = False
    kernel: Kernel = "dot"
    normalization: Normalization = "l2"
    gradient: Gradient = "stop"
    temperature: float = 1.0
    bn_decay: float = 0.9997
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool, mask: Array | None = None) -> Array:
        """Features (B, *spatial, C) to the same shape.

        Args:
            x: features; `spatial` is any number of axes, (B, N, C) tokens included.
            train: normalise with the statistics of the batch and update μ⁰.
            mask: (B, *spatial), true where a token exists.
        """
        self._check(x, mask)
        channels = x.shape[-1]
        conv1 = self._conv(channels, use_bias=True, name="conv1")
        conv2 = self._conv(channels, use_bias=False, name="conv2")

        tokens = conv1(x).reshape(x.shape[0], -1, channels)
        token_mask = None if mask is None else mask.reshape(tokens.shape[:-1])
        bases = self._bases(channels)
        attended = em_attention(
            tokens,
            bases.value if isinstance(bases, nn.Variable) else bases,
            num_iters=self.num_iters if train else self.eval_iters or self.num_iters,
            temperature=self.temperature,
            kernel=self.kernel,
            normalization=self.normalization,
            gradient=self.gradient,
            mask=token_mask,
        )
        if train and isinstance(bases, nn.Variable) and not self.is_initializing():
            bases.value = self._moving_average(bases.value, attended.bases, token_mask)

        y = conv2(nn.relu(attended.features).reshape(x.shape))
        y = batch_norm(
            self.bn_decay, self.dtype, train=train, name="bn", axis_name=self.axis_name
        )(y, mask=None if mask is None else mask[..., None])
        return nn.relu(x + y)

    def _conv(self, channels: int, *, use_bias: bool, name: str) -> nn.Dense:
        """A 1×1 convolution: a dense layer over the channels, for any rank."""
        return nn.Dense(
            channels,
            use_bias=use_bias,
            dtype=self.dtype,
            kernel_init=he_normal_fan_out,
            name=name,
        )

    def _bases(self, channels: int) -> Array | nn.Variable:
        """μ⁰ (K, C): a parameter, or a variable of `batch_stats`."""
        shape = (self.num_bases, channels)
        if self.bases_update == "gradient":
            return self.param("bases", bases_init, shape, jnp.float32)
        return self.variable(
            "batch_stats",
            "bases",
            lambda: bases_init(self.make_rng("params"), shape, jnp.float32),
        )

    def _moving_average(self, old: Array, bases: Array, mask: Array | None) -> Array:
        """μ⁰ after the batch whose images ended with `bases` (B, K, C).

        Images without a single token have no bases and are left out.
        """
        if self.bases_update == "none":
            return old
        present = jnp.ones(len(bases)) if mask is None else jnp.any(mask, axis=-1)
        total = jnp.einsum("b,bkc->kc", present.astype(jnp.float32), bases)
        count = jnp.sum(present, dtype=jnp.float32)
        if self.axis_name is not None:
            total, count = lax.psum((total, count), self.axis_name)
        mean = total / jnp.maximum(count, 1)
        if self.normalize_batch_mean:
            mean = normalize(mean, "l2")
        new = self.bases_decay * old + (1 - self.bases_decay) * mean
        return jnp.where(count > 0, new, old)

    def _check(self, x: Array, mask: Array | None) -> None:
        if self.num_bases < 1:
            raise ValueError(f"num_bases={self.num_bases}; give at least 1")
        if x.ndim < 3:
            raise ValueError(f"x has shape {x.shape}; give (B, *spatial, C)")
        if mask is not None and mask.shape != x.shape[:-1]:
            raise ValueError(
                f"mask has shape {mask.shape}; x of shape {x.shape} needs "
                f"{x.shape[:-1]}"
            )
        check_option("bases_update", self.bases_update, get_args(BasesUpdate))


FROZEN_BY_STOP = ("conv1",)
"""Parameters of the unit that `gradient="stop"` leaves at their init.

Keep them out of weight decay and momentum: zero gradient plus decay would shrink them.
"""
