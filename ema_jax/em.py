"""Expectation-maximization attention: the paper on one page, as pure functions.

    E   Z = softmax_k(λ · X μᵀ)             responsibilities, N×K
    M   μ_k = Σ_n z_nk x_n / (ε + Σ_n z_nk)  then divided by its norm, K×C
    R   X̃ = Z μ                              re-estimation, N×C

N is the number of tokens (pixels), C of channels, K of bases. Everything is summed in
float32 or wider, whatever the type of X.

Li et al., "Expectation-Maximization Attention Networks for Semantic Segmentation",
ICCV 2019, https://arxiv.org/abs/1907.13426
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ema_jax.fixed_point import fixed_point, repeat
from ema_jax.options import (
    Assignment,
    AxisName,
    Gradient,
    Implementation,
    Kernel,
    Normalization,
    check_choices,
    check_num_iters,
    check_temperature,
    check_tokens,
)
from ema_jax.prepare import prepare

EPSILON = 1e-6

_einsum = partial(jnp.einsum, precision=lax.Precision.HIGHEST)
"""Products in float32: accelerators would round the factors to 8 or 10 bits."""


class EMAttention(NamedTuple):
    """What `em_attention` returns.

    Attributes:
        features: re-estimated tokens X̃ = Z μ, (..., N, C), in the type of the input.
        bases: μ after the last M step, (..., K, C), float32 or wider.
        responsibilities: Z of the last E step, (..., N, K), float32 or wider.

    Example:
        >>> attended = em_attention(jnp.eye(3), jnp.eye(3)[:2], temperature=9.0)
        >>> attended.responsibilities.argmax(axis=-1)[:2]
        Array([0, 1], dtype=int32)
    """

    features: Array
    bases: Array
    responsibilities: Array


def expectation(
    x: Array,
    bases: Array,
    *,
    temperature: float | Array = 1.0,
    kernel: Kernel = "dot",
    assignment: Assignment = "soft",
    mask: Array | None = None,
) -> Array:
    """Responsibility of every basis for every token (the E step).

    `z_nk = exp(λ κ(x_n, μ_k)) / Σ_j exp(λ κ(x_n, μ_j))` with `κ(x, μ) = x·μ` for the
    kernel "dot" and `κ(x, μ) = -‖x-μ‖²/2` for "gaussian", whose variance is 1/λ.

    Args:
        x: tokens, (..., N, C).
        bases: (K, C), or (..., K, C) for bases of each batch element.
        temperature: λ, the inverse temperature.
        kernel: "dot" or "gaussian".
        assignment: "soft", or "hard": one for the most responsible basis and zero for
            the others, with the gradient of "soft" (straight through).
        mask: (..., N), true where a token exists; the others get zeros.

    Returns:
        Responsibilities, (..., N, K); they sum to one over K where the mask is true.

    Example:
        >>> x, bases = jnp.eye(2), jnp.eye(2)
        >>> expectation(x, bases, temperature=100.0)
        Array([[1., 0.],
               [0., 1.]], dtype=float32)
    """
    score = similarity(*centred(x, bases, kernel), kernel)
    responsibilities = softmax_over_bases(temperature * score)
    if assignment == "hard":
        largest = jnp.argmax(score, axis=-1)
        nearest = jax.nn.one_hot(largest, bases.shape[-2], dtype=score.dtype)
        responsibilities += lax.stop_gradient(nearest - responsibilities)
    if mask is not None:
        responsibilities = jnp.where(mask[..., None], responsibilities, 0)
    return responsibilities


def similarity(x: Array, bases: Array, kernel: Kernel) -> Array:
    """Score of every basis for every token: `x·μ` or, "gaussian", `x·μ - ‖μ‖²/2`.

    The latter is `-‖x-μ‖²/2` but for ‖x‖²/2, which a softmax over the bases drops;
    give it `centred` arguments.
    """
    score = _einsum("...nc,...kc->...nk", x, bases)
    if kernel == "gaussian":
        score -= jnp.sum(jnp.square(bases), axis=-1)[..., None, :] / 2
    return score


def centred(x: Array, bases: Array, kernel: Kernel) -> tuple[Array, Array]:
    """Tokens and bases about the mean of the bases, "gaussian"; "dot" as they are.

    Distances stay the same, and far from the origin they keep their digits.
    """
    if kernel == "dot":
        return x, bases
    centre = jnp.mean(bases, axis=-2, keepdims=True)
    return x - centre, bases - centre


def softmax_over_bases(score: Array) -> Array:
    """Softmax of (..., N, K) over its last axis.

    It goes along the rows of the transpose: for CPUs jaxlib 0.10 may compile the plain
    softmax of a product with bases broadcast over a batch wrongly, to 1/K everywhere.
    """
    return jax.nn.softmax(score.mT, axis=-2).mT


def maximization(
    x: Array,
    responsibilities: Array,
    *,
    normalization: Normalization = "l2",
    axis_name: AxisName | None = None,
) -> Array:
    """Bases that explain the tokens best, given responsibilities (the M step).

    `μ_k = Σ_n z_nk x_n / (ε + Σ_n z_nk)`, then normalised over the channels.

    Args:
        x: tokens, (..., N, C).
        responsibilities: (..., N, K).
        normalization: "l2" divides by `ε + ‖μ_k‖₂`; "layer" subtracts the mean and
            divides by `ε +` the standard deviation; "none" leaves the means.
        axis_name: mapped axis over which the tokens are split, if any. Its devices
            exchange K·(C+1) numbers.

    Returns:
        Bases, (..., K, C).

    Example:
        >>> x = jnp.array([[1.0, 0.0], [3.0, 0.0]])
        >>> maximization(x, jnp.ones((2, 1)), normalization="none").round(3)
        Array([[2., 0.]], dtype=float32)
    """
    total = _einsum("...nk,...nc->...kc", responsibilities, x)
    weight = jnp.sum(responsibilities, axis=-2)[..., None]
    if axis_name is not None:
        both = lax.psum(jnp.concatenate([total, weight], axis=-1), axis_name)
        total, weight = both[..., :-1], both[..., -1:]
    return normalize(total / (EPSILON + weight), normalization)


def normalize(bases: Array, normalization: Normalization) -> Array:
    """Normalise each basis over its channels; see `maximization`."""
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


def reconstruct(responsibilities: Array, bases: Array) -> Array:
    """Tokens re-estimated from the bases, `X̃ = Z μ`: (..., N, K), (..., K, C).

    Example:
        >>> reconstruct(jnp.array([[0.5, 0.5]]), jnp.array([[1.0, 0.0], [0.0, 1.0]]))
        Array([[0.5, 0.5]], dtype=float32)
    """
    return _einsum("...nk,...kc->...nc", responsibilities, bases)


def em_step(
    x: Array,
    bases: Array,
    *,
    temperature: float | Array = 1.0,
    kernel: Kernel = "dot",
    normalization: Normalization = "l2",
    assignment: Assignment = "soft",
    mask: Array | None = None,
    axis_name: AxisName | None = None,
) -> tuple[Array, Array]:
    """One EM iteration: `Z = E(x, μ)`, then `μ' = M(x, Z)`; returns (μ', Z).

    The arguments are those of `em_attention`; nothing is converted.

    Example:
        >>> bases, responsibilities = em_step(jnp.eye(3), jnp.eye(3)[:2])
        >>> bases.shape, responsibilities.shape
        ((2, 3), (3, 2))
    """
    responsibilities = expectation(
        x,
        bases,
        temperature=temperature,
        kernel=kernel,
        assignment=assignment,
        mask=mask,
    )
    bases = maximization(
        x, responsibilities, normalization=normalization, axis_name=axis_name
    )
    return bases, responsibilities


def em_attention(
    x: Array,
    bases: Array,
    *,
    num_iters: int | Array = 3,
    temperature: float | Array = 1.0,
    kernel: Kernel = "dot",
    normalization: Normalization = "l2",
    gradient: Gradient = "stop",
    assignment: Assignment = "soft",
    mask: Array | None = None,
    axis_name: AxisName | None = None,
    implementation: Implementation | None = None,
) -> EMAttention:
    """Replace tokens by their projection on bases found by EM iterations.

    From `bases` = μ⁰, `num_iters` times an E step with the μ of the step before and an
    M step; then `X̃ = Z μ` with the last Z and the last μ. Cost O(N·K·C·T), linear in
    the tokens.

    Args:
        x: tokens, (..., N, C), any floating type.
        bases: initial bases μ⁰, (K, C), or (..., K, C), whose leading axes broadcast
            against those of x: one set per batch element, or per head.
        num_iters: T ≥ 1; a traced integer is allowed unless `gradient="unroll"`.
        temperature: λ of the E step, one number.
        kernel: "dot" or "gaussian"; see `expectation`.
        normalization: "l2", "layer" or "none"; see `maximization`.
        gradient: what the backward pass sees. "stop": nothing, as in the published
            code. "last_step": the last iteration. "unroll": every iteration.
            "implicit": the fixed point of EM, by the implicit function theorem, at a
            memory that does not grow with T; exact where EM has converged.
        assignment: "soft" or "hard"; see `expectation`.
        mask: (..., N), true where a token exists. The others get no responsibility,
            weigh nothing in any sum and come back as zeros.
        axis_name: mapped axis over which the tokens are split; see `maximization`.
        implementation: None chooses; "xla" is the reference.

    Returns:
        `EMAttention(features, bases, responsibilities)`.

    Raises:
        ValueError: shapes that do not fit, an unknown option or `num_iters` < 1.

    Example:
        >>> x = jax.random.normal(jax.random.key(0), (2, 100, 8))
        >>> mu = jax.random.normal(jax.random.key(1), (4, 8))
        >>> features, mu, z = em_attention(x, mu)
        >>> features.shape, mu.shape, z.shape
        ((2, 100, 8), (2, 4, 8), (2, 100, 4))

        Only the tokens of the mask count, and the bases go on to the next frame:

        >>> mask = jnp.arange(100) < jnp.array([[100], [60]])
        >>> following = em_attention(x, mu, mask=mask)
        >>> float(jnp.abs(following.features[1, 60:]).max())
        0.0

    Reference:
        Li et al., ICCV 2019, https://arxiv.org/abs/1907.13426, section 3.
    """
    check_tokens(x, bases, mask)
    check_num_iters(num_iters, gradient)
    check_temperature(temperature)
    check_choices(
        kernel=kernel,
        normalization=normalization,
        gradient=gradient,
        assignment=assignment,
        implementation=implementation,
    )
    tokens, bases = prepare(x, bases, mask, axis_name)
    theta = tokens, jnp.asarray(temperature, tokens.dtype), mask
    if gradient == "stop":
        bases, theta = lax.stop_gradient((bases, theta))

    def step(
        bases: Array, tokens: Array, temperature: float | Array, mask: Array | None
    ) -> tuple[Array, Array]:
        return em_step(
            tokens,
            bases,
            temperature=temperature,
            kernel=kernel,
            normalization=normalization,
            assignment=assignment,
            mask=mask,
            axis_name=axis_name,
        )

    def update(bases: Array, *theta: Any) -> Array:
        return step(bases, *theta)[0]

    if gradient == "unroll":
        bases = repeat(update, bases, num_iters - 1, *theta)
    elif gradient == "implicit":
        bases = fixed_point(update, bases, num_iters - 1, *theta)
    else:  # "last_step": nothing of the early iterations is seen
        early, stopped = lax.stop_gradient((bases, theta))
        bases = repeat(update, early, num_iters - 1, *stopped)
    bases, responsibilities = step(bases, *theta)
    features = reconstruct(responsibilities, bases).astype(x.dtype)
    return EMAttention(features, bases, responsibilities)
