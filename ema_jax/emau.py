"""The EMA unit: EM attention between two 1×1 convolutions, with a residual."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from ema_jax.bases import bases_init, join_heads, moving_average, split_heads
from ema_jax.em import EMAttention, em_attention
from ema_jax.layers import batch_norm, pointwise
from ema_jax.mixture import dead_bases, em_trace, mean_entropy
from ema_jax.options import (
    Assignment,
    AxisName,
    BasesUpdate,
    Gradient,
    Kernel,
    Normalization,
    axis_names,
    check_choices,
    check_features,
    check_positive,
)


class EMAU(nn.Module):
    """Expectation-maximization attention unit.

    `y = ReLU(x + BN(W₂ ReLU(EM(W₁ x + b₁))))`, where EM replaces every token by its
    projection on K bases; see `em_attention`. Every image starts from the stored
    bases μ⁰ and has its own EM.

    The bases live in the collection `batch_stats`, as the statistics of
    `nn.BatchNorm` do, and are updated by `train=True` calls with that collection
    mutable: `μ⁰ ← α μ⁰ + (1-α) · mean over the batch of μ`. Under `jax.jit` the batch
    is the global one; under `shard_map` or `pmap` name the axis in `axis_name`.

    With the collection `intermediates` mutable the unit also leaves there, for each
    image, its `responsibilities` (B, N, K), `bases` (B, K, C), `entropy` (B,),
    `dead_bases` (B,) and, unless the iterations are traced, `bases_change` (T, B); see
    `em_trace`. With several heads each has the axis of heads after B; with
    `token_axis_name` they are those of the device's own tokens.

    Attributes:
        num_bases: K, of each head.
        num_heads: parts into which the channels are split; each has its own EM.
        num_iters: T, EM iterations in training.
        eval_iters: T when `train=False`; `num_iters` by default. Either may be a
            traced integer where the unit is built inside the compiled function, so
            that a sweep compiles once.
        bases_decay: α of the moving average.
        bases_update: "moving_average"; "gradient" trains μ⁰ as a parameter and needs
            `gradient="unroll"`; "none" keeps the initial μ⁰.
        normalize_batch_mean: L2-normalise the batch mean before the moving average.
        renormalize_average: L2-normalise the moving average itself.
        skip_non_finite: keep images with NaN or infinity out of μ⁰ and of the
            statistics of BN. Their own output is not finite either way.
        kernel, normalization, gradient, assignment, temperature: see `em_attention`.
        learn_temperature: train log λ, from `temperature` on; not with
            `gradient="stop"`, which lets nothing through.
        bn_decay: share of the old running statistics that BN keeps.
        axis_name: mapped axis over which the batch is split, if any.
        token_axis_name: mapped axis over which the tokens are split, if any.
        dtype: compute type. Parameters, statistics and EM sums are float32.

    Raises:
        ValueError: `num_bases` < 1, an input of fewer than three axes, channels that
            the heads do not divide, a mask whose shape is not that of the tokens, an
            unknown option, options that leave a parameter without gradient.

    Example:
        >>> import jax
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
    num_heads: int = 1
    num_iters: int | Array = 3
    eval_iters: int | Array | None = None
    bases_decay: float = 0.9
    bases_update: BasesUpdate = "moving_average"
    normalize_batch_mean: bool = False
    renormalize_average: bool = False
    skip_non_finite: bool = False
    kernel: Kernel = "dot"
    normalization: Normalization = "l2"
    gradient: Gradient = "stop"
    assignment: Assignment = "soft"
    temperature: float | Array = 1.0
    learn_temperature: bool = False
    bn_decay: float = 0.9997
    axis_name: AxisName | None = None
    token_axis_name: AxisName | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Array,
        *,
        train: bool,
        mask: Array | None = None,
        initial_bases: Array | None = None,
        return_bases: bool = False,
    ) -> Array | tuple[Array, Array]:
        """Features (B, *spatial, C) to the same shape.

        Args:
            x: features; `spatial` is any number of axes, (B, N, C) tokens included.
            train: normalise with the statistics of the batch and update μ⁰.
            mask: (B, *spatial), true where a token exists.
            initial_bases: (B, K, C) or (K, C) to start from in place of μ⁰, such as
                the bases of the frame before. Such a call does not update μ⁰.
            return_bases: return (features, bases), the bases (B, K, C), float32.
        """
        self._check(x, mask)
        channels = x.shape[-1]
        stored = self._stored_bases(channels)
        tokens = pointwise(channels, self.dtype, name="conv1")(x)
        tokens = tokens.reshape(x.shape[0], -1, channels)
        token_mask = None if mask is None else mask.reshape(tokens.shape[:-1])
        attended = self._attend(
            tokens,
            stored.value if initial_bases is None else initial_bases,
            token_mask,
            train=train,
        )
        features = join_heads(attended.features, self.num_heads).reshape(x.shape)
        bases = join_heads(attended.bases, self.num_heads)
        counted = self._counted(bases, token_mask)
        if train and initial_bases is None and not self.is_initializing():
            self._update(stored, bases, counted)

        y = pointwise(channels, self.dtype, use_bias=False, name="conv2")(
            nn.relu(features)
        )
        y = self._norm(y, mask, counted, train=train)
        y = nn.relu(x + y)
        return (y, bases) if return_bases else y

    def _stored_bases(self, channels: int) -> nn.Variable:
        """μ⁰ (K, C): a parameter, or a variable of `batch_stats`."""
        trained = self.bases_update == "gradient"
        return self.variable(
            "params" if trained else "batch_stats",
            "bases",
            lambda: bases_init(
                self.make_rng("params"),
                (self.num_bases, channels),
                jnp.float32,
                self.num_heads,
            ),
        )

    def _attend(
        self, tokens: Array, bases: Array, mask: Array | None, *, train: bool
    ) -> EMAttention:
        """EM attention of every head; what it saw goes to `intermediates`."""
        num_iters = self.num_iters
        if not train and self.eval_iters is not None:
            num_iters = self.eval_iters
        temperature = self.temperature
        if self.learn_temperature:
            init = nn.initializers.constant(jnp.log(temperature))
            temperature = jnp.exp(self.param("log_temperature", init, ()))
        tokens = split_heads(tokens, self.num_heads)
        if mask is not None and self.num_heads > 1:
            mask = jnp.broadcast_to(mask[:, None], tokens.shape[:-1])
        arguments: dict[str, Any] = {
            "x": tokens,
            "bases": split_heads(bases, self.num_heads),
            "num_iters": num_iters,
            "temperature": temperature,
            "kernel": self.kernel,
            "normalization": self.normalization,
            "assignment": self.assignment,
            "mask": mask,
            "axis_name": self.token_axis_name,
        }
        attended = em_attention(**arguments, gradient=self.gradient)
        if self.is_mutable_collection("intermediates"):
            self._sow(attended, arguments)
        return attended

    def _sow(self, attended: EMAttention, arguments: dict[str, Any]) -> None:
        """Leave what EM saw in `intermediates`; see the class."""
        responsibilities, mask = attended.responsibilities, arguments["mask"]
        self.sow("intermediates", "responsibilities", responsibilities)
        self.sow("intermediates", "bases", attended.bases)
        self.sow("intermediates", "entropy", mean_entropy(responsibilities, mask))
        self.sow("intermediates", "dead_bases", dead_bases(responsibilities, mask))
        if isinstance(arguments["num_iters"], int):
            trace = em_trace(**arguments)
            self.sow("intermediates", "bases_change", trace.change)

    def _counted(self, bases: Array, mask: Array | None) -> Array | None:
        """Which images (B,) enter the statistics; None: all do.

        Those without a token have no bases.
        """
        counted = None
        if mask is not None:
            counted = jnp.any(mask, axis=-1)
            if self.token_axis_name is not None:
                counted = lax.psum(counted.astype(int), self.token_axis_name) > 0
        if self.skip_non_finite:
            finite = jnp.all(jnp.isfinite(bases), axis=(-2, -1))
            counted = finite if counted is None else counted & finite
        return counted

    def _update(self, stored: nn.Variable, bases: Array, counted: Array | None) -> None:
        """μ⁰ after the batch whose images ended with `bases` (B, K, C)."""
        if self.bases_update != "moving_average":
            return
        stored.value = moving_average(
            stored.value,
            bases,
            decay=self.bases_decay,
            counted=counted,
            num_heads=self.num_heads,
            normalize_batch_mean=self.normalize_batch_mean,
            renormalize_average=self.renormalize_average,
            axis_name=self.axis_name,
        )

    def _norm(
        self, y: Array, mask: Array | None, counted: Array | None, *, train: bool
    ) -> Array:
        """Batch normalisation over the tokens that exist, of the images counted."""
        if self.skip_non_finite:
            assert counted is not None
            images = counted.reshape(-1, *(1,) * (y.ndim - 2))
            mask = images if mask is None else mask & images
        norm = batch_norm(
            self.bn_decay,
            self.dtype,
            train=train,
            axis_name=axis_names(self.axis_name) + axis_names(self.token_axis_name),
            name="bn",
        )
        return norm(y, None if mask is None else mask[..., None])

    def _check(self, x: Array, mask: Array | None) -> None:
        check_positive("num_bases", self.num_bases)
        check_features(x, mask)
        if self.num_heads < 1 or x.shape[-1] % self.num_heads:
            raise ValueError(
                f"num_heads={self.num_heads} does not divide the {x.shape[-1]} "
                "channels of x; give a divisor of them"
            )
        check_choices(bases_update=self.bases_update, gradient=self.gradient)
        if self.bases_update == "gradient" and self.gradient != "unroll":
            raise ValueError(
                f"gradient={self.gradient!r} lets nothing reach the initial bases; "
                "bases_update='gradient' needs gradient='unroll'"
            )
        if self.learn_temperature and self.gradient == "stop":
            raise ValueError(
                "gradient='stop' lets nothing reach the temperature; "
                "learn_temperature=True needs another"
            )


FROZEN_BY_STOP = ("conv1",)
"""Parameters of the unit that `gradient="stop"` leaves at their init.

Keep them out of weight decay and momentum: zero gradient plus decay would shrink them.
"""
