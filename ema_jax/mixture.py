"""EM attention as maximum likelihood: what its iterations climb, and how they go."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ema_jax.components import (
    VARIANCE_FLOOR,
    Components,
    centred,
    estimated,
    initial_components,
    scores,
)
from ema_jax.em import em_step
from ema_jax.options import (
    Assignment,
    AxisName,
    Covariance,
    Kernel,
    Mixing,
    Normalization,
    check_choices,
    check_count,
    check_mixture_options,
    check_starts,
    check_temperature,
    check_tokens,
)
from ema_jax.prepare import prepare


def mixture_log_likelihood(
    x: Array,
    bases: Array,
    *,
    temperature: float | Array = 1.0,
    kernel: Kernel = "dot",
    covariances: Array | None = None,
    proportions: Array | None = None,
    mask: Array | None = None,
) -> Array:
    """Log-likelihood of the tokens under the mixture whose EM is EM attention.

    `L = Σ_n log Σ_k π_k p(x_n | μ_k)`, with equal shares π = 1/K unless given, and

    - kernel "gaussian": `p = (λ/2π)^(C/2) exp(-λ‖x-μ‖²/2)`, isotropic Gaussians, or
      `N(x; μ_k, σ²_k)` with covariances;
    - kernel "dot": `p ∝ exp(λ x·μ)`, von Mises-Fisher distributions of concentration
      λ. Their normaliser depends on λ and C alone and is left out.

    With unit tokens and normalization "l2", or with kernel "gaussian" and
    normalization "none", an EM iteration never lowers it, but for what ε = 1e-6 in
    the denominators of the M step takes: at most `λ ε` a token, and for "gaussian"
    `λ ε max ‖x‖² / 8` a basis.

    Args:
        x: tokens, (..., N, C).
        bases: (K, C), or (..., K, C).
        temperature: λ.
        kernel: "dot" or "gaussian".
        covariances: variances σ² of a basis, (..., K), or of each of its channels,
            (..., K, C), as `EMAttention` has them.
        proportions: π, (..., K), likewise.
        mask: (..., N), true where a token exists.

    Returns:
        L in nats, (...), float32 or wider; divide by the number of tokens for a mean.

    Raises:
        ValueError: shapes that do not fit, or an unknown kernel.

    Example:
        >>> x, mu = jnp.zeros((3, 2)), jnp.zeros((1, 2))
        >>> L = mixture_log_likelihood(x, mu, kernel="gaussian")
        >>> print(f"{L:.4f}")  # -3 log 2π
        -5.5136

    Reference:
        Banerjee et al., JMLR 2005, https://jmlr.org/papers/v6/banerjee05a.html.
    """
    check_tokens(x, bases, mask)
    check_temperature(temperature)
    check_choices(kernel=kernel)
    covariance: Covariance = "fixed"
    if covariances is not None:
        covariance = "diagonal" if covariances.ndim == bases.ndim else "spherical"
    mixing: Mixing = "uniform" if proportions is None else "learned"
    check_starts(bases, covariance, mixing, covariances, proportions)
    components = initial_components(
        bases, temperature, covariance, mixing, covariances, proportions
    )
    tokens, components = prepare(x, components, mask)
    exponent = scores(tokens, components, temperature, kernel)
    density = jax.nn.logsumexp(exponent, axis=-1)
    if proportions is None:
        density -= math.log(bases.shape[-2])
    if kernel == "gaussian":
        density -= tokens.shape[-1] / 2 * math.log(2 * math.pi)
        if covariances is None:  # which `scores` leaves out
            about, _ = centred(tokens, components.bases, kernel)
            square = jnp.sum(jnp.square(about), axis=-1)
            density += tokens.shape[-1] / 2 * jnp.log(temperature)
            density -= temperature * square / 2
    if mask is not None:
        density = jnp.where(mask, density, 0)
    return jnp.sum(density, axis=-1)


class EMTrace(NamedTuple):
    """What `em_trace` returns; the first axis of each is the iteration.

    Attributes:
        bases: μ after it, (T, ..., K, C).
        change: ‖μ - μ before it‖ over all bases, (T, ...).
        entropy: mean over the tokens of `-Σ_k z_nk log z_nk` in its E step, in nats,
            between 0 and log K, (T, ...).
        dead_bases: bases that are the most responsible one of no token, (T, ...).
        log_likelihood: `mixture_log_likelihood` of μ after it, (T, ...).
    """

    bases: Array
    change: Array
    entropy: Array
    dead_bases: Array
    log_likelihood: Array


def em_trace(
    x: Array,
    bases: Array,
    *,
    num_iters: int = 3,
    temperature: float | Array = 1.0,
    kernel: Kernel = "dot",
    normalization: Normalization = "l2",
    assignment: Assignment = "soft",
    covariance: Covariance = "fixed",
    mixing: Mixing = "uniform",
    covariances: Array | None = None,
    proportions: Array | None = None,
    variance_floor: float = VARIANCE_FLOOR,
    mask: Array | None = None,
    axis_name: AxisName | None = None,
) -> EMTrace:
    """How the iterations of `em_attention` go; the arguments are its own.

    With `axis_name` entropy, dead bases and likelihood count the device's own tokens.

    Raises:
        ValueError: shapes that do not fit, an unknown option or `num_iters` < 1.

    Example:
        >>> x = jax.random.normal(jax.random.key(0), (2, 50, 8))
        >>> trace = em_trace(x, x[:, :4], num_iters=5)
        >>> trace.bases.shape, trace.change.shape
        ((5, 2, 4, 8), (5, 2))

    Reference:
        Li et al., ICCV 2019, https://arxiv.org/abs/1907.13426, section 3.
    """
    check_tokens(x, bases, mask)
    check_count("num_iters", num_iters)
    check_temperature(temperature)
    check_choices(kernel=kernel, normalization=normalization, assignment=assignment)
    check_mixture_options(kernel, covariance, mixing, temperature, variance_floor)
    check_starts(bases, covariance, mixing, covariances, proportions)
    start = initial_components(
        bases, temperature, covariance, mixing, covariances, proportions
    )
    tokens, start = prepare(x, start, mask, axis_name)
    temperature = jnp.asarray(temperature, tokens.dtype)

    def step(old: Components, _: None) -> tuple[Components, EMTrace]:
        new, responsibilities = em_step(
            tokens,
            old,
            temperature=temperature,
            kernel=kernel,
            normalization=normalization,
            assignment=assignment,
            variance_floor=variance_floor,
            mask=mask,
            axis_name=axis_name,
        )
        variances, shares = estimated(new, covariance)
        likelihood = mixture_log_likelihood(
            tokens,
            new.bases,
            temperature=temperature,
            kernel=kernel,
            covariances=variances,
            proportions=shares,
            mask=mask,
        )
        change = jnp.sqrt(jnp.sum(jnp.square(new.bases - old.bases), axis=(-2, -1)))
        return new, EMTrace(
            new.bases,
            change,
            mean_entropy(responsibilities, mask),
            dead_bases(responsibilities, mask),
            likelihood,
        )

    return lax.scan(step, start, length=num_iters)[1]


def mean_entropy(responsibilities: Array, mask: Array | None = None) -> Array:
    """Mean over the tokens of `-Σ_k z_nk log z_nk`, in nats: (..., N, K) to (...).

    Example:
        >>> print(f"{mean_entropy(jnp.full((9, 4), 0.25)):.4f}")  # log 4
        1.3863
    """
    positive = responsibilities > 0  # the slope of z log z at zero is infinite
    log = jnp.log(jnp.where(positive, responsibilities, 1))
    entropy = -jnp.sum(responsibilities * log, axis=-1)
    if mask is None:
        return jnp.mean(entropy, axis=-1)
    total = jnp.sum(jnp.where(mask, entropy, 0), axis=-1)
    return total / jnp.maximum(jnp.sum(mask, axis=-1, dtype=total.dtype), 1)


def dead_bases(responsibilities: Array, mask: Array | None = None) -> Array:
    """How many bases are the most responsible one of no token: (..., N, K) to (...).

    Example:
        >>> dead_bases(jnp.array([[0.7, 0.2, 0.1], [0.4, 0.5, 0.1]]))
        Array(1, dtype=int32)
    """
    largest = jnp.argmax(responsibilities, axis=-1)
    served = jax.nn.one_hot(largest, responsibilities.shape[-1], dtype=bool)
    if mask is not None:
        served &= mask[..., None]
    return jnp.sum(~jnp.any(served, axis=-2), axis=-1)
