"""The EMA unit as functions: what Linen's and NNX's do with the variables they own."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ema_jax.bases import join_heads, moving_average, split_heads
from ema_jax.em import EMAttention, em_attention
from ema_jax.layers import add, hide
from ema_jax.mixture import dead_bases, em_trace, mean_entropy
from ema_jax.options import AxisName, check_bases
from ema_jax.unit_options import Unit
from ema_jax.windows import Windows, mean_over_windows, split_like, windows_over


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


class Attended(NamedTuple):
    """What `attend` returns.

    Attributes:
        features: X̃, as x.
        bases: μ with which each image ended, (B, K, C); with windows their mean.
        seen: what EM did, by name, computed by a call.
    """

    features: Array
    bases: Array
    seen: Callable[[], dict[str, Array]]


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
    attended = attend(
        unit, parts, x, start, mask, train=train, token_axis_name=token_axis_name
    )
    bases = attended.bases
    counted = None if mask is None else _any_token(mask, token_axis_name)
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

    y = parts.conv2(jax.nn.relu(attended.features))
    y = parts.norm(y, mask if finite is None else _of_images(counted, mask, y))
    y = hide(jax.nn.relu(add(x, y)), mask)
    if finite is not None:
        y = jnp.where(_per_image(finite, y)[..., None], y, jnp.nan)
    return Outcome(y, bases, stored, attended.seen)


def attend(
    unit: Unit,
    parts: Parts,
    x: Array,
    start: Array,
    mask: Array | None,
    *,
    train: bool,
    token_axis_name: AxisName | None = None,
) -> Attended:
    """`EM(W₁ x + b₁)`, of each image or, in evaluation, of each window of it.

    The last are blended; see `Windows`.
    """
    windows = None
    if unit.eval_window is not None and not train:
        shape = x.shape[1], x.shape[2]
        windows = windows_over(shape, unit.eval_window, mask)
    tokens, token_mask, heads = parts.conv1(x), None, unit.num_heads
    dtype = tokens.dtype
    if windows is None:
        tokens = _flat(tokens)
        if mask is not None:
            token_mask = _flat(mask[..., None])[..., 0]
    else:
        tokens = windows.cut(tokens)
        token_mask = None if mask is None else windows.cut_mask(mask)
        if start.ndim == 3:  # those of an image begin each of its windows
            start = start[:, None]
    arguments = em_arguments(unit, tokens, start, token_mask, parts, train=train)
    arguments["axis_name"] = token_axis_name
    found = em_attention(**arguments, gradient=unit.gradient)
    features = join_heads(found.features, heads)
    bases = join_heads(found.bases, heads)
    if windows is not None:
        features = split_like(windows.blend(features).astype(dtype), x)
        bases = mean_over_windows(bases, token_mask)
    return Attended(
        features.reshape(x.shape),
        bases,
        lambda: observations(found, arguments, windows, heads),
    )


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
        mask = jnp.broadcast_to(mask[..., None, :], tokens.shape[:-1])
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


def observations(
    attended: EMAttention,
    arguments: dict[str, Any],
    windows: Windows | None,
    num_heads: int,
) -> dict[str, Array]:
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
    if windows is not None:
        blended = windows.blend(join_heads(responsibilities, num_heads))
        seen["responsibilities"] = split_heads(_flat(blended), num_heads)
    return {name: value for name, value in seen.items() if value is not None}


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
