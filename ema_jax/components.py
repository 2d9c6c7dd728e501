"""What EM estimates: bases and, of a Gaussian mixture, their variances and shares."""

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ema_jax.options import AxisName, Covariance, Kernel, Mixing, Normalization
from ema_jax.prepare import without_tokens

EPSILON = 1e-6
TINY = 1e-30
"""A share below has this logarithm: it stays finite, and so does its slope."""

VARIANCE_FLOOR = 1e-6
"""Of the estimated variances, where none other is given."""

einsum = partial(jnp.einsum, precision=lax.Precision.HIGHEST)
"""Products in float32: accelerators would round the factors to 8 or 10 bits."""


class Components(NamedTuple):
    """The state of EM; what is None is no part of it.

    Attributes:
        bases: μ, (..., K, C).
        variances: σ², (..., K, 1) or, of each channel, (..., K, C); None: 1/λ.
        proportions: π, (..., K, 1), their sum one; None: 1/K.
    """

    bases: Array
    variances: Array | None = None
    proportions: Array | None = None


def as_components(bases: Array | Components) -> Components:
    """Bases alone, or components as they are."""
    return bases if isinstance(bases, Components) else Components(bases)


def estimated(
    components: Components, covariance: Covariance
) -> tuple[Array | None, Array | None]:
    """Variances, (..., K) where they are "spherical", and proportions (..., K)."""
    _, variances, proportions = components
    if variances is not None and covariance == "spherical":
        variances = variances[..., 0]
    return variances, None if proportions is None else proportions[..., 0]


def initial_components(
    bases: Array,
    temperature: float | Array,
    covariance: Covariance,
    mixing: Mixing,
    covariances: Array | None = None,
    proportions: Array | None = None,
) -> Components:
    """Where EM starts: as given, or with variances 1/λ and shares 1/K."""
    rows = bases.shape[:-1]
    variances = shares = None
    if covariance != "fixed":
        wide = covariance == "diagonal"
        if covariances is None:
            shape = (*rows, bases.shape[-1] if wide else 1)
            variances = jnp.broadcast_to(1 / jnp.asarray(temperature), shape)
        else:
            variances = covariances if wide else covariances[..., None]
    if mixing == "learned":
        given = 1 / rows[-1] if proportions is None else proportions
        shares = jnp.broadcast_to(jnp.asarray(given), rows)[..., None]
    return Components(bases, variances, shares)


def scores(
    x: Array, components: Components, temperature: float | Array, kernel: Kernel
) -> Array:
    """What a softmax over the bases makes responsibilities of, (..., N, K).

    `λ κ(x, μ)`, or `log N(x; μ, σ²)` with variances, and `+ log π` with proportions;
    terms that all bases share may be left out.
    """
    if components.variances is None:
        score = temperature * similarity(*centred(x, components.bases, kernel), kernel)
    else:
        score = log_normal(*centred(x, components.bases, kernel), components.variances)
    if components.proportions is not None:
        share = jnp.log(jnp.maximum(components.proportions, TINY))
        score += share.mT
    return score


def similarity(x: Array, bases: Array, kernel: Kernel) -> Array:
    """Score of every basis for every token: `x·μ` or, "gaussian", `x·μ - ‖μ‖²/2`.

    The latter is `-‖x-μ‖²/2` but for ‖x‖²/2, which a softmax over the bases drops;
    give it `centred` arguments.
    """
    score = einsum("...nc,...kc->...nk", x, bases)
    if kernel == "gaussian":
        score -= jnp.sum(jnp.square(bases), axis=-1)[..., None, :] / 2
    return score


def log_normal(x: Array, bases: Array, variances: Array) -> Array:
    """`-Σ_c ((x-μ)²/σ² + log σ²)/2` of `centred` arguments: (..., N, K).

    This is `log N(x; μ, σ²)` but for -C/2 log 2π.
    """
    precisions = 1 / variances
    weighted = bases * precisions
    score = einsum("...nc,...kc->...nk", x, weighted)
    score -= einsum("...nd,...kd->...nk", _squares(x, variances), precisions) / 2
    repeats = x.shape[-1] // variances.shape[-1]
    log_determinant = repeats * jnp.sum(jnp.log(variances), axis=-1)
    constant = jnp.sum(bases * weighted, axis=-1) + log_determinant
    return score - constant[..., None, :] / 2


def centred(x: Array, bases: Array, kernel: Kernel) -> tuple[Array, Array]:
    """Tokens and bases about the mean of the bases, "gaussian"; "dot" as they are.

    Distances stay the same, and far from the origin they keep their digits.
    """
    if kernel == "dot":
        return x, bases
    centre = jnp.mean(bases, axis=-2, keepdims=True)
    return x - centre, bases - centre


def estimate(
    x: Array,
    responsibilities: Array,
    *,
    normalization: Normalization = "l2",
    axis_name: AxisName | None = None,
) -> Array:
    """`μ_k = Σ_n z_nk x_n / (ε + Σ_n z_nk)`, normalised; see `em.maximization`."""
    total = sum_tokens(responsibilities, x)
    weight = jnp.sum(responsibilities, axis=-2)[..., None]
    total, weight = _sum_over([total, weight], axis_name)
    return normalize(total / (EPSILON + weight), normalization)


def estimate_mixture(
    x: Array,
    responsibilities: Array,
    old: Components,
    *,
    variance_floor: float,
    normalization: Normalization = "none",
    axis_name: AxisName | None = None,
) -> Components:
    """Bases, and those of variances and proportions that `old` has.

    `N_k = Σ_n z_nk`, `μ_k = Σ_n z_nk x_n / N_k`, normalised,
    `σ²_k = max(floor, Σ_n z_nk (x_n - μ_k)² / N_k)`, their mean over the channels
    where all share one, and `π_k = N_k / Σ_j N_j`.

    Each keeps the weight ε of its old value: a basis without tokens stays as it was,
    and since the likelihood has one maximum along the way it never falls.
    """
    centre = jnp.mean(old.bases, axis=-2, keepdims=True)
    x, before = x - centre, old.bases - centre
    sums = [
        sum_tokens(responsibilities, x),
        jnp.sum(responsibilities, axis=-2)[..., None],
    ]
    if old.variances is not None:
        squares = _squares(x, old.variances)
        sums.append(sum_tokens(responsibilities, squares))
    total, weight, *second = _sum_over(sums, axis_name)
    mean = (total + EPSILON * before) / (EPSILON + weight)
    bases = normalize(mean + centre, normalization)
    variances = proportions = None
    if old.variances is not None:
        moved = bases - centre
        spread = second[0] + _channels(
            moved * (weight * moved - 2 * total), old.variances
        )
        repeats = x.shape[-1] // old.variances.shape[-1]
        variances = spread / repeats + EPSILON * old.variances
        variances = jnp.maximum(variances / (EPSILON + weight), variance_floor)
    if old.proportions is not None:
        proportions = weight + EPSILON * old.proportions
        proportions /= jnp.sum(proportions, axis=-2, keepdims=True)
    return Components(bases, variances, proportions)


def sum_tokens(responsibilities: Array, x: Array) -> Array:
    """`Σ_n z_nk x_n`: (..., N, K), (..., N, C) to (..., K, C)."""
    sharding = without_tokens(x)
    return einsum("...nk,...nc->...kc", responsibilities, x, out_sharding=sharding)


def normalize(bases: Array, normalization: Normalization) -> Array:
    """Normalise each basis over its channels; see `em.maximization`."""
    if normalization == "none":
        return bases
    if normalization == "l2":
        return bases / (EPSILON + _root(jnp.sum(jnp.square(bases), -1, keepdims=True)))
    centred = bases - jnp.mean(bases, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
    return centred / (EPSILON + _root(variance))


def _root(square: Array) -> Array:
    """Square root whose gradient at zero is zero: a basis without tokens is zero."""
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)


def _squares(x: Array, variances: Array) -> Array:
    """x² as the variances have it: of each channel, or their sum (..., 1)."""
    return _channels(jnp.square(x), variances)


def _channels(x: Array, variances: Array) -> Array:
    """(..., C) as it is, or summed to (..., 1) where the channels share a variance."""
    if variances.shape[-1] == x.shape[-1]:
        return x
    return jnp.sum(x, axis=-1, keepdims=True)


def _sum_over(sums: list[Array], axis_name: AxisName | None) -> list[Array]:
    """Arrays (..., K, ·) summed over a mapped axis, in one exchange."""
    if axis_name is None:
        return sums
    ends = [sum(a.shape[-1] for a in sums[: i + 1]) for i in range(len(sums) - 1)]
    return jnp.split(lax.psum(jnp.concatenate(sums, -1), axis_name), ends, -1)
