"""The EMA unit: EM attention between two 1×1 convolutions, with a residual."""

import math

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from ema_jax.bases import bases_init
from ema_jax.batch_norm import check_updatable
from ema_jax.components import VARIANCE_FLOOR
from ema_jax.layers import batch_norm, pointwise
from ema_jax.options import (
    Assignment,
    AxisName,
    BasesUpdate,
    Covariance,
    Gradient,
    Kernel,
    Mixing,
    Normalization,
    axis_names,
)
from ema_jax.unit import Parts, run_unit
from ema_jax.unit_options import check_call


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
    `em_trace`. A mixture's `covariances` and `proportions` are there too. With several
    heads each has the axis of heads after B; with `token_axis_name` they are those of
    the device's own tokens. Of an image seen by `eval_window` the responsibilities are
    blended as the features are, and each of the others has the axis of windows after
    B, from top left to bottom right; a window without tokens has those of an image
    without.

    Attributes:
        num_bases: K, of each head.
        num_heads: parts into which the channels are split; each has its own EM.
        num_iters: T, EM iterations in training.
        eval_iters: T when `train=False`; `num_iters` by default. Either may be a
            traced integer where the unit is built inside the compiled function, so
            that a sweep compiles once.
        eval_window: height and width, in pixels of x (B, H, W, C), of the windows of a
            larger image that each have their own EM when `train=False`, from μ⁰ on,
            such as the size of x in training. A third of a window is seen again by the
            next; the re-estimated features are the mean over the windows of a pixel,
            weighted by its depth inside of them. Where they lie depends on the rows
            and columns in which an image has tokens, not on its canvas; on a canvas no
            larger than the window nothing changes. None: the whole image.
        bases_decay: α of the moving average.
        bases_update: "moving_average"; "gradient" trains μ⁰ as a parameter and needs
            `gradient="unroll"`; "none" keeps the initial μ⁰.
        normalize_batch_mean: L2-normalise the batch mean before the moving average.
        renormalize_average: L2-normalise the moving average itself.
        skip_non_finite: keep images with NaN or infinity out of μ⁰, of the statistics
            of BN and, where the loss leaves them out, of the gradients. Their own
            output is NaN.
        kernel, normalization, gradient, assignment, covariance, mixing,
            variance_floor, temperature: see `em_attention`. Every image starts from
            variances 1/λ and equal shares.
        learn_temperature: train log λ, from `temperature` > 0 on; not with
            `gradient="stop"`, which lets nothing through, and where variances are
            estimated with "unroll" alone.
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
            without gradient, `eval_window` for other than (B, H, W, C) or with
            `token_axis_name`.

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
    eval_window: tuple[int, int] | None = None
    bases_decay: float = 0.9
    bases_update: BasesUpdate = "moving_average"
    normalize_batch_mean: bool = False
    renormalize_average: bool = False
    skip_non_finite: bool = False
    kernel: Kernel = "dot"
    normalization: Normalization = "l2"
    gradient: Gradient = "stop"
    assignment: Assignment = "soft"
    covariance: Covariance = "fixed"
    mixing: Mixing = "uniform"
    variance_floor: float = VARIANCE_FLOOR
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
            return_bases: return (features, bases), the bases (B, K, C), float32; of
                several windows, their mean.
        """
        train = nn.merge_param("train", self.train, train)
        check_call(self, x, mask, train=train)
        if train:
            check_updatable(self)
        stored = self._stored_bases(x.shape[-1])
        outcome = run_unit(
            self,
            self._parts(x.shape[-1], stored.value, train=train),
            x,
            mask,
            train=train,
            initial_bases=initial_bases,
            axis_name=self._mapped(self.axis_name),
            token_axis_name=self._mapped(self.token_axis_name),
        )
        if outcome.stored is not None and not self.is_initializing():
            stored.value = outcome.stored
        if self.is_mutable_collection("intermediates"):
            for name, value in outcome.seen().items():
                self.sow("intermediates", name, value)
        return (outcome.features, outcome.bases) if return_bases else outcome.features

    def _stored_bases(self, channels: int) -> nn.Variable:
        """μ⁰ (K, C): a parameter, or a variable of `batch_stats`."""
        trained = self.bases_update == "gradient"
        shape = self.num_bases, channels
        return self.variable(
            "params" if trained else "batch_stats",
            "bases",
            lambda: bases_init(
                self.make_rng("params"), shape, jnp.float32, self.num_heads
            ),
        )

    def _parts(self, channels: int, bases: Array, *, train: bool) -> Parts:
        norm = batch_norm(
            self.bn_decay,
            self.dtype,
            train=train,
            axis_name=axis_names(self.axis_name) + axis_names(self.token_axis_name),
            zero_init=self.zero_init,
            name="bn",
        )
        log_temperature = None
        if self.learn_temperature:
            init = nn.initializers.constant(math.log(self.temperature))
            log_temperature = self.param("log_temperature", init, (), jnp.float32)
        return Parts(
            pointwise(channels, self.dtype, name="conv1"),
            pointwise(channels, self.dtype, use_bias=False, name="conv2"),
            lambda y, mask: norm(y, None if mask is None else mask[..., None]),
            bases,
            log_temperature,
        )

    def _mapped(self, axis_name: AxisName | None) -> AxisName | None:
        """The name of a mapped axis, which `init` does not know."""
        return None if self.is_initializing() else axis_name


FROZEN_BY_STOP = ("conv1",)
"""Parameters of the unit that `gradient="stop"` leaves at their init.

Keep them out of weight decay and momentum: zero gradient plus decay would shrink them.
"""
