"""EM attention as maximum likelihood: what its iterations climb, and how they go."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ema_jax.em import centred, em_step, similarity
from ema_jax.options import (
    Assignment,
    AxisName,
    Kernel,
    Normalization,
    check_choices,
    check_count,
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
    mask: Array | None = None,
) -> Array:
    """Log-likelihood of the tokens under the mixture whose EM is EM attention.

    `L = Σ_n log (1/K) Σ_k p(x_n | μ_k)`, with equal weights and

    - kernel "gaussian": `p = (λ/2π)^(C/2) exp(-λ‖x-μ‖²/2)`, isotropic Gaussians;
    - kernel "dot": `p ∝ exp(λ x·μ)`, von Mises-Fisher distributions of concentration
      λ. Their normaliser depends on λ and C alone and is left out.

    With unit tokens and normalization "l2", or with kernel "gaussian" and
    normalization "none", an EM iteration never lowers it.

    Args:
        x: tokens, (..., N, C).
        bases: (K, C), or (..., K, C).
        temperature: λ.
        kernel: "dot" or "gaussian".
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
    tokens, bases = centred(*prepare(x, bases, mask), kernel)
    exponent = temperature * similarity(tokens, bases, kernel)
    density = jax.nn.logsumexp(exponent, axis=-1) - math.log(bases.shape[-2])
    if kernel == "gaussian":
        square = jnp.sum(jnp.square(tokens), axis=-1)
        constant = tokens.shape[-1] / 2 * jnp.log(temperature / (2 * jnp.pi))
        density += constant - temperature * square / 2
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
    tokens, start = prepare(x, bases, mask, axis_name)
    temperature = jnp.asarray(temperature, tokens.dtype)

    def step(old: Array, _: None) -> tuple[Array, EMTrace]:
        new, responsibilities = em_step(
            tokens,
            old,
            temperature=temperature,
            kernel=kernel,
            normalization=normalization,
            assignment=assignment,
            mask=mask,
            axis_name=axis_name,
        )
        likelihood = mixture_log_likelihood(
            tokens, new, temperature=temperature, kernel=kernel, mask=mask
        )
        change = jnp.sqrt(jnp.sum(jnp.square(new - old), axis=(-2, -1)))
        return new, EMTrace(
            new,
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
    return total / jnp.maximum(jnp.sum(mask, axis=-1), 1)


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
