"""The EMA unit: EM attention between two 1×1 convolutions, with a residual."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from ema_jax.bases import bases_init, join_heads, moving_average, split_heads
from ema_jax.em import EMAttention, em_attention
from ema_jax.layers import batch_norm, hide, pointwise
from ema_jax.mixture import dead_bases, em_trace, mean_entropy
from ema_jax.options import (
    Assignment,
    AxisName,
    BasesUpdate,
    Gradient,
    Kernel,
    Normalization,
    axis_names,
    check_bases,
    check_choices,
    check_count,
    check_features,
    check_num_iters,
    check_share,
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
        skip_non_finite: keep images with NaN or infinity out of μ⁰, of the statistics
            of BN and, where the loss leaves them out, of the gradients. Their own
            output is NaN.
        kernel, normalization, gradient, assignment, temperature: see `em_attention`.
        learn_temperature: train log λ, from `temperature` > 0 on; not with
            `gradient="stop"`, which lets nothing through.
        zero_init: start the scale of BN at zero, so that a trained network into which
            the unit is put is at first as it was.
        bn_decay: share of the old running statistics that BN keeps.
        axis_name: mapped axis over which the batch is split, if any. `init` does not
            need it, nor the next.
        token_axis_name: mapped axis over which the tokens are split, if any.
        dtype: compute type. Parameters, statistics and EM sums are float32.
        train: as in a call; give it in one place. Where the unit itself is lifted, it
            goes here: `nn.remat(EMAU)(train=True)(x)`.

    With `gradient="stop"`, the default, nothing reaches `conv1`: keep
    `FROZEN_BY_STOP` out of weight decay.

    Raises:
        ValueError: `num_bases` < 1, an input of fewer than three axes, channels that
            the heads do not divide, a mask or bases of another shape than needed, an
            unknown option, a number out of its range, options that leave a parameter
            without gradient.

    Example:
        >>> import jax
        >>> unit = EMAU(num_bases=4)
        >>> x = jax.random.normal(jax.random.key(0), (2, 9, 9, 16))
        >>> variables = unit.init(jax.random.key(1), x, train=False)
        >>> y, updates = unit.apply(variables, x, train=True, mutable=["batch_stats"])
        >>> y.shape, updates["batch_stats"]["bases"].shape
        ((2, 9, 9, 16), (4, 16))

        Who asks sees what EM did, here for two images of 81 pixels:

        >>> _, seen = unit.apply(variables, x, train=False, mutable=["intermediates"])
        >>> seen["intermediates"]["responsibilities"][0].shape
        (2, 81, 4)

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
    zero_init: bool = False
    bn_decay: float = 0.9997
    axis_name: AxisName | None = None
    token_axis_name: AxisName | None = None
    dtype: DTypeLike = jnp.float32
    train: bool | None = None

    @nn.compact
    def __call__(
        self,
        x: Array,
        mask: Array | None = None,
        *,
        train: bool | None = None,
        initial_bases: Array | None = None,
        return_bases: bool = False,
    ) -> Array | tuple[Array, Array]:
        """Features (B, *spatial, C) to the same shape.

        Args:
            x: features; `spatial` is any number of axes, (B, N, C) tokens included.
            mask: (B, *spatial), true (not 0) where a token exists. The others come
                back as zeros, whatever they hold.
            train: normalise with the statistics of the batch and update μ⁰.
            initial_bases: (B, K, C) or (K, C) to start from in place of μ⁰, such as
                the bases of the frame before. Such a call does not update μ⁰.
            return_bases: return (features, bases), the bases (B, K, C), float32.
        """
        train = nn.merge_param("train", self.train, train)
        self._check(x, mask, train=train)
        channels = x.shape[-1]
        mask = None if mask is None else mask != 0
        stored = self._stored_bases(channels)
        start = stored.value if initial_bases is None else initial_bases
        check_bases(start, self.num_bases, x)
        x = hide(x, mask)
        finite = self._finite(x)
        if finite is not None:  # 0 · NaN is NaN: its gradients would be too
            x = hide(x, _per_image(finite, x))
        tokens = pointwise(channels, self.dtype, name="conv1")(x)
        tokens = tokens.reshape(len(x), math.prod(x.shape[1:-1]), channels)
        token_mask = None if mask is None else mask.reshape(tokens.shape[:-1])
        attended = self._attend(tokens, start, token_mask, train=train)
        features = join_heads(attended.features, self.num_heads).reshape(x.shape)
        bases = join_heads(attended.bases, self.num_heads)
        counted = self._counted(bases, token_mask, finite)
        if train and initial_bases is None and not self.is_initializing():
            self._update(stored, bases, counted)

        y = pointwise(channels, self.dtype, use_bias=False, name="conv2")(
            nn.relu(features)
        )
        y = self._norm(y, mask, counted, train=train)
        y = hide(nn.relu(x + y), mask)
        if finite is not None:
            y = jnp.where(_per_image(finite, y)[..., None], y, jnp.nan)
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
            init = nn.initializers.constant(math.log(self.temperature))
            log_temperature = self.param("log_temperature", init, (), jnp.float32)
            temperature = jnp.exp(log_temperature)
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
            "axis_name": self._mapped(self.token_axis_name),
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
        if not isinstance(arguments["num_iters"], jax.core.Tracer):
            num_iters = int(arguments["num_iters"])
            trace = em_trace(**arguments | {"num_iters": num_iters})
            self.sow("intermediates", "bases_change", trace.change)

    def _mapped(self, axis_name: AxisName | None) -> AxisName | None:
        """The name of a mapped axis, which `init` does not know."""
        return None if self.is_initializing() else axis_name

    def _finite(self, x: Array) -> Array | None:
        """Which images (B,) `skip_non_finite` leaves; None: it is off."""
        if not self.skip_non_finite:
            return None
        return ~self._any_token(
            ~jnp.isfinite(x).all(-1).reshape(len(x), math.prod(x.shape[1:-1]))
        )

    def _any_token(self, found: Array) -> Array:
        """Whether any of an image's tokens, (B, N) to (B,), on all of its devices."""
        any_here = jnp.any(found, axis=-1)
        axis_name = self._mapped(self.token_axis_name)
        if axis_name is None:
            return any_here
        return lax.psum(any_here.astype(int), axis_name) > 0

    def _counted(
        self, bases: Array, mask: Array | None, finite: Array | None
    ) -> Array | None:
        """Which images (B,) enter the statistics; None: all do.

        Those without a token have no bases.
        """
        counted = None if mask is None else self._any_token(mask)
        if finite is not None:
            finite &= jnp.all(jnp.isfinite(bases), axis=(-2, -1))
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
            axis_name=self._mapped(self.axis_name),
        )

    def _norm(
        self, y: Array, mask: Array | None, counted: Array | None, *, train: bool
    ) -> Array:
        """Batch normalisation over the tokens that exist, of the images counted."""
        if self.skip_non_finite:
            assert counted is not None
            images = _per_image(counted, y)
            mask = images if mask is None else mask & images
        norm = batch_norm(
            self.bn_decay,
            self.dtype,
            train=train,
            axis_name=axis_names(self.axis_name) + axis_names(self.token_axis_name),
            zero_init=self.zero_init,
            name="bn",
        )
        return norm(y, None if mask is None else mask[..., None])

    def _check(self, x: Array, mask: Array | None, *, train: bool) -> None:
        check_count("num_bases", self.num_bases)
        check_count("num_heads", self.num_heads)
        check_share("bases_decay", self.bases_decay)
        check_share("bn_decay", self.bn_decay)
        check_choices(bases_update=self.bases_update, gradient=self.gradient)
        if self.eval_iters is not None and not train:
            check_num_iters(self.eval_iters, self.gradient, "eval_iters")
        check_features(x, mask)
        if x.shape[-1] % self.num_heads:
            raise ValueError(
                f"num_heads={self.num_heads} does not divide the {x.shape[-1]} "
                "channels of x; give a divisor of them"
            )
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
        if self.learn_temperature and self.temperature <= 0:
            raise ValueError(
                f"temperature={self.temperature} has no logarithm to learn; "
                "learn_temperature=True needs a start above 0"
            )


def _per_image(values: Array, x: Array) -> Array:
    """(B,) with the axes of a mask of x (B, *spatial, C)."""
    return values.reshape(-1, *(1,) * (x.ndim - 2))


FROZEN_BY_STOP = ("conv1",)
"""Parameters of the unit that `gradient="stop"` leaves at their init.

Keep them out of weight decay and momentum: zero gradient plus decay would shrink them.
"""
