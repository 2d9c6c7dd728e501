"""The EMA unit as functions: what Linen's and NNX's do with the variables they own."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from ema_jax.bases import join_heads, moving_average, split_heads
from ema_jax.em import EMAttention, em_attention
from ema_jax.layers import add, hide
from ema_jax.mixture import dead_bases, em_trace, mean_entropy
from ema_jax.options import (
    Assignment,
    AxisName,
    BasesUpdate,
    Covariance,
    Gradient,
    Kernel,
    Mixing,
    Normalization,
    check_bases,
    check_choices,
    check_count,
    check_features,
    check_mixture_options,
    check_num_iters,
    check_share,
)


class Unit(Protocol):
    """The options of a unit; `ema_jax.EMAU` explains them."""

    num_bases: int
    num_heads: int
    num_iters: int | Array
    eval_iters: int | Array | None
    bases_decay: float
    bases_update: BasesUpdate
    normalize_batch_mean: bool
    renormalize_average: bool
    skip_non_finite: bool
    kernel: Kernel
    normalization: Normalization
    gradient: Gradient
    assignment: Assignment
    covariance: Covariance
    mixing: Mixing
    variance_floor: float
    temperature: float | Array
    learn_temperature: bool
    zero_init: bool
    bn_decay: float
    axis_name: AxisName | None
    token_axis_name: AxisName | None
    dtype: DTypeLike


class Parts(NamedTuple):
    """What a unit owns.

    Attributes:
        conv1, conv2: 1×1 convolutions, (..., C) to (..., C).
        norm: batch normalisation of (B, *spatial, C), given which tokens count.
        bases: μ⁰, (K, C).
        log_temperature: log λ, where it is learnt.
    """

    conv1: Callable[[Array], Array]
    conv2: Callable[[Array], Array]
    norm: Callable[[Array, Array | None], Array]
    bases: Array
    log_temperature: Array | None = None


class Outcome(NamedTuple):
    """What `run_unit` returns.

    Attributes:
        features: y, as x.
        bases: μ with which each image ended, (B, K, C).
        stored: μ⁰ after the batch; None: it stays.
        seen: what EM did, by name, computed by a call.
    """

    features: Array
    bases: Array
    stored: Array | None
    seen: Callable[[], dict[str, Array]]


def run_unit(
    unit: Unit,
    parts: Parts,
    x: Array,
    mask: Array | None = None,
    *,
    train: bool,
    initial_bases: Array | None = None,
    axis_name: AxisName | None = None,
    token_axis_name: AxisName | None = None,
) -> Outcome:
    """`y = ReLU(x + BN(W₂ ReLU(EM(W₁ x + b₁))))`, and μ⁰ after a batch of training.

    The arguments are those of a call of `ema_jax.EMAU`, checked by `check_call`.
    """
    start = parts.bases if initial_bases is None else initial_bases
    check_bases(start, unit.num_bases, x)
    mask = None if mask is None else mask.astype(bool)
    x = hide(x, mask)
    finite = None
    if unit.skip_non_finite:
        finite = ~_any_token(~jnp.isfinite(x).all(-1), token_axis_name)
        x = hide(x, _per_image(finite, x))  # 0 · NaN is NaN: its gradients would be too
    tokens = _flat(parts.conv1(x))
    token_mask = None if mask is None else _flat(mask[..., None])[..., 0]
    arguments = em_arguments(unit, tokens, start, token_mask, parts, train=train)
    arguments["axis_name"] = token_axis_name
    attended = em_attention(**arguments, gradient=unit.gradient)
    features = join_heads(attended.features, unit.num_heads).reshape(x.shape)
    bases = join_heads(attended.bases, unit.num_heads)

    counted = None if token_mask is None else _any_token(token_mask, token_axis_name)
    if finite is not None:
        finite &= jnp.all(jnp.isfinite(bases), axis=(-2, -1))
        counted = finite if counted is None else counted & finite
    stored = None
    if train and initial_bases is None and unit.bases_update == "moving_average":
        stored = moving_average(
            parts.bases,
            bases,
            decay=unit.bases_decay,
            counted=counted,
            num_heads=unit.num_heads,
            normalize_batch_mean=unit.normalize_batch_mean,
            renormalize_average=unit.renormalize_average,
            axis_name=axis_name,
        )

    y = parts.conv2(jax.nn.relu(features))
    y = parts.norm(y, mask if finite is None else _of_images(counted, mask, y))
    y = hide(jax.nn.relu(add(x, y)), mask)
    if finite is not None:
        y = jnp.where(_per_image(finite, y)[..., None], y, jnp.nan)
    return Outcome(y, bases, stored, lambda: observations(attended, arguments))


def em_arguments(
    unit: Unit,
    tokens: Array,
    bases: Array,
    mask: Array | None,
    parts: Parts,
    *,
    train: bool,
) -> dict[str, Any]:
    """Those of `em_attention` but the gradient: each head has its own EM."""
    num_iters = unit.num_iters
    if not train and unit.eval_iters is not None:
        num_iters = unit.eval_iters
    temperature = unit.temperature
    if parts.log_temperature is not None:
        temperature = jnp.exp(parts.log_temperature)
    tokens = split_heads(tokens, unit.num_heads)
    if mask is not None and unit.num_heads > 1:
        mask = jnp.broadcast_to(mask[:, None], tokens.shape[:-1])
    return {
        "x": tokens,
        "bases": split_heads(bases, unit.num_heads),
        "num_iters": num_iters,
        "temperature": temperature,
        "kernel": unit.kernel,
        "normalization": unit.normalization,
        "assignment": unit.assignment,
        "covariance": unit.covariance,
        "mixing": unit.mixing,
        "variance_floor": unit.variance_floor,
        "mask": mask,
    }


def observations(attended: EMAttention, arguments: dict[str, Any]) -> dict[str, Array]:
    """What EM saw, by the names of the collection `intermediates`; see `EMAU`."""
    responsibilities, mask = attended.responsibilities, arguments["mask"]
    seen = {
        "responsibilities": responsibilities,
        "bases": attended.bases,
        "covariances": attended.covariances,
        "proportions": attended.proportions,
        "entropy": mean_entropy(responsibilities, mask),
        "dead_bases": dead_bases(responsibilities, mask),
    }
    if not isinstance(arguments["num_iters"], jax.core.Tracer):
        num_iters = int(arguments["num_iters"])
        trace = em_trace(**arguments | {"num_iters": num_iters})
        seen["bases_change"] = trace.change
    return {name: value for name, value in seen.items() if value is not None}


def check_unit(unit: Unit, channels: int, *, train: bool) -> None:
    """Raise a ValueError unless the options are in their range and fit together."""
    check_count("num_bases", unit.num_bases)
    check_count("num_heads", unit.num_heads)
    if channels % unit.num_heads:
        raise ValueError(
            f"num_heads={unit.num_heads} does not divide the {channels} channels "
            "of x; give a divisor of them"
        )
    check_share("bases_decay", unit.bases_decay)
    check_share("bn_decay", unit.bn_decay)
    check_choices(bases_update=unit.bases_update, gradient=unit.gradient)
    check_mixture_options(
        unit.kernel,
        unit.covariance,
        unit.mixing,
        unit.temperature,
        unit.variance_floor,
    )
    if unit.eval_iters is not None and not train:
        check_num_iters(unit.eval_iters, unit.gradient, "eval_iters")
    if unit.bases_update == "gradient" and unit.gradient != "unroll":
        raise ValueError(
            f"gradient={unit.gradient!r} lets nothing reach the initial bases; "
            "bases_update='gradient' needs gradient='unroll'"
        )
    if not unit.learn_temperature:
        return
    if unit.gradient == "stop":
        raise ValueError(
            "gradient='stop' lets nothing reach the temperature; "
            "learn_temperature=True needs another"
        )
    if unit.covariance != "fixed" and unit.gradient != "unroll":
        raise ValueError(
            f"covariance={unit.covariance!r} has the temperature for its start only; "
            "learn_temperature=True needs gradient='unroll'"
        )
    if unit.temperature <= 0:
        raise ValueError(
            f"temperature={unit.temperature} has no logarithm to learn; "
            "learn_temperature=True needs a start above 0"
        )


def check_call(unit: Unit, x: Array, mask: Array | None, *, train: bool) -> None:
    """Raise a ValueError unless options, features and mask fit together."""
    check_features(x, mask)
    check_unit(unit, x.shape[-1], train=train)


def _flat(x: Array) -> Array:
    """(B, *spatial, C) to (B, N, C)."""
    return x.reshape(x.shape[0], math.prod(x.shape[1:-1]), x.shape[-1])


def _any_token(found: Array, axis_name: AxisName | None) -> Array:
    """Whether any of an image's tokens, (B, ...) to (B,), on all of its devices."""
    any_here = jnp.any(found, axis=tuple(range(1, found.ndim)))
    if axis_name is None:
        return any_here
    return lax.psum(any_here.astype(int), axis_name) > 0


def _of_images(counted: Array | None, mask: Array | None, y: Array) -> Array:
    """The mask of the tokens of the images that count."""
    assert counted is not None
    images = _per_image(counted, y)
    return images if mask is None else mask & images


def _per_image(values: Array, x: Array) -> Array:
    """(B,) with the axes of a mask of x (B, *spatial, C)."""
    return values.reshape(-1, *(1,) * (x.ndim - 2))
