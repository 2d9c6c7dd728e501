"""The EMA unit as a module of Flax NNX."""

import math

import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jax.typing import DTypeLike

from ema_jax.bases import bases_init
from ema_jax.components import VARIANCE_FLOOR
from ema_jax.layers import he_normal_fan_out
from ema_jax.nnx.batch_norm import BatchNorm
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
    check_count,
)
from ema_jax.unit import Parts, run_unit
from ema_jax.unit_options import check_call, check_unit


class EMAU(nnx.Module):
    """Expectation-maximization attention unit.

    `y = ReLU(x + BN(W₂ ReLU(EM(W₁ x + b₁))))`. The unit of Linen, `ema_jax.EMAU`, which
    explains the options; weights go from one to the other by `from_linen` and
    `to_linen`.

    μ⁰ is an `nnx.BatchStat`, as the statistics of `nnx.BatchNorm` are, and a call in
    training mode updates it: `model.train()` and `model.eval()` choose the mode.

    Args:
        num_features: C, the channels of x.
        use_running_average: evaluation mode: normalise with the running statistics,
            and keep them and μ⁰.
        keep_intermediates: leave what EM did in the `nnx.Intermediate` named
            `intermediates`, a dictionary with the names that the Linen unit has there,
            until the next call, or until `nnx.pop(model, nnx.Intermediate)` takes it.
        rngs: of the weights and of μ⁰.
        (others): see `ema_jax.EMAU`.

    Raises:
        ValueError: as the unit of Linen, and an x of other channels.

    Example:
        >>> import jax
        >>> rngs = nnx.Rngs(0)
        >>> model = nnx.Sequential(
        ...     nnx.Conv(3, 16, (3, 3), rngs=rngs),
        ...     EMAU(16, num_bases=4, rngs=rngs),
        ...     nnx.Linear(16, 10, rngs=rngs),
        ... )
        >>> model.train()
        >>> before = model.layers[1].bases[...]
        >>> model(jax.random.normal(jax.random.key(1), (2, 9, 9, 3))).shape
        (2, 9, 9, 10)
        >>> bool(jnp.all(model.layers[1].bases[...] == before))
        False

    Reference:
        Li et al., ICCV 2019, https://arxiv.org/abs/1907.13426, section 3.
    """

    def __init__(
        self,
        num_features: int,
        *,
        num_bases: int = 64,
        num_heads: int = 1,
        num_iters: int | Array = 3,
        eval_iters: int | Array | None = None,
        eval_window: tuple[int, int] | None = None,
        bases_decay: float = 0.9,
        bases_update: BasesUpdate = "moving_average",
        normalize_batch_mean: bool = False,
        renormalize_average: bool = False,
        skip_non_finite: bool = False,
        kernel: Kernel = "dot",
        normalization: Normalization = "l2",
        gradient: Gradient = "stop",
        assignment: Assignment = "soft",
        covariance: Covariance = "fixed",
        mixing: Mixing = "uniform",
        variance_floor: float = VARIANCE_FLOOR,
        temperature: float | Array = 1.0,
        learn_temperature: bool = False,
        zero_init: bool = False,
        bn_decay: float = 0.9997,
        axis_name: AxisName | None = None,
        token_axis_name: AxisName | None = None,
        dtype: DTypeLike = jnp.float32,
        use_running_average: bool = False,
        keep_intermediates: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        self.num_features = num_features
        self.num_bases = num_bases
        self.num_heads = num_heads
        self.num_iters = num_iters
        self.eval_iters = eval_iters
        self.eval_window = eval_window
        self.bases_decay = bases_decay
        self.bases_update = bases_update
        self.normalize_batch_mean = normalize_batch_mean
        self.renormalize_average = renormalize_average
        self.skip_non_finite = skip_non_finite
        self.kernel = kernel
        self.normalization = normalization
        self.gradient = gradient
        self.assignment = assignment
        self.covariance = covariance
        self.mixing = mixing
        self.variance_floor = variance_floor
        self.temperature = temperature
        self.learn_temperature = learn_temperature
        self.zero_init = zero_init
        self.bn_decay = bn_decay
        self.axis_name = axis_name
        self.token_axis_name = token_axis_name
        self.dtype = dtype
        self.use_running_average = use_running_average
        self.keep_intermediates = keep_intermediates
        check_count("num_features", num_features)
        check_unit(self, num_features, train=not use_running_average)
        self._make_variables(rngs)

    def _make_variables(self, rngs: nnx.Rngs) -> None:
        size = self.num_features

        def pointwise(use_bias: bool) -> nnx.Linear:
            return nnx.Linear(
                size,
                size,
                use_bias=use_bias,
                dtype=self.dtype,
                kernel_init=he_normal_fan_out,
                rngs=rngs,
            )

        stored = nnx.Param if self.bases_update == "gradient" else nnx.BatchStat
        shape = self.num_bases, size
        self.bases = stored(
            bases_init(rngs.params(), shape, jnp.float32, self.num_heads)
        )
        self.conv1, self.conv2 = pointwise(use_bias=True), pointwise(use_bias=False)
        if self.learn_temperature:
            self.log_temperature = nnx.Param(jnp.float32(math.log(self.temperature)))
        initializers = nnx.initializers
        self.bn = BatchNorm(
            size,
            decay=self.bn_decay,
            axis_name=axis_names(self.axis_name) + axis_names(self.token_axis_name),
            dtype=self.dtype,
            scale_init=initializers.zeros if self.zero_init else initializers.ones,
            rngs=rngs,
        )

    def __call__(
        self,
        x: Array,
        mask: Array | None = None,
        *,
        use_running_average: bool | None = None,
        initial_bases: Array | None = None,
        return_bases: bool = False,
    ) -> Array | tuple[Array, Array]:
        """Features (B, *spatial, C) to the same shape; see `ema_jax.EMAU`."""
        if use_running_average is None:
            use_running_average = self.use_running_average
        check_call(self, x, mask, train=not use_running_average)
        if x.shape[-1] != self.num_features:
            raise ValueError(
                f"x has {x.shape[-1]} channels, and num_features={self.num_features}"
            )

        def norm(y: Array, mask: Array | None) -> Array:
            mask = None if mask is None else mask[..., None]
            return self.bn(y, mask, use_running_average=use_running_average)

        learnt = self.log_temperature[...] if self.learn_temperature else None
        outcome = run_unit(
            self,
            Parts(self.conv1, self.conv2, norm, self.bases[...], learnt),
            x,
            mask,
            train=not use_running_average,
            initial_bases=initial_bases,
            axis_name=self.axis_name,
            token_axis_name=self.token_axis_name,
        )
        if outcome.stored is not None:
            self.bases[...] = lax.stop_gradient(outcome.stored)
        if self.keep_intermediates:
            self.intermediates = nnx.Intermediate(outcome.seen())
        return (outcome.features, outcome.bases) if return_bases else outcome.features

    def set_view(self, use_running_average: bool | None = None) -> None:
        """What `nnx.view` sets."""
        if use_running_average is not None:
            self.use_running_average = use_running_average
