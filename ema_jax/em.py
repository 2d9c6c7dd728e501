"""Expectation-maximization attention: the paper on one page, as pure functions.

    E   Z = softmax_k(λ · X μᵀ)             responsibilities, N×K
    M   μ_k = Σ_n z_nk x_n / (ε + Σ_n z_nk)  then divided by its norm, K×C
    R   X̃ = Z μ                              re-estimation, N×C

N is the number of tokens (pixels), C of channels, K of bases. Everything is summed in
float32 or wider, whatever the type of X.

Li et al., "Expectation-Maximization Attention Networks for Semantic Segmentation",
ICCV 2019, https://arxiv.org/abs/1907.13426
"""

from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax import Array, lax

Kernel = Literal["dot", "gaussian"]
Normalization = Literal["l2", "layer", "none"]
Gradient = Literal["stop", "last_step", "unroll"]
Implementation = Literal["xla"]

EPSILON = 1e-6


class EMAttention(NamedTuple):
    """What `em_attention` returns.

    Attributes:
        features: re-estimated tokens X̃ = Z μ, (..., N, C), in the type of the input.
        bases: μ after the last M step, (..., K, C), float32 or wider.
        responsibilities: Z of the last E step, (..., N, K), float32 or wider.
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
        mask: (..., N), true where a token exists; the others get zeros.

    Returns:
        Responsibilities, (..., N, K); they sum to one over K where the mask is true.

    Example:
        >>> x, bases = jnp.eye(2), jnp.eye(2)
        >>> expectation(x, bases, temperature=100.0)
        Array([[1., 0.],
               [0., 1.]], dtype=float32)
    """
    similarity = jnp.einsum("...nc,...kc->...nk", x, bases)
    if kernel == "gaussian":  # ‖x‖² is the same for every basis: softmax drops it
        similarity -= jnp.sum(jnp.square(bases), axis=-1)[..., None, :] / 2
    responsibilities = jax.nn.softmax(temperature * similarity, axis=-1)
    if mask is not None:
        responsibilities = jnp.where(mask[..., None], responsibilities, 0)
    return responsibilities


def maximization(
    x: Array, responsibilities: Array, *, normalization: Normalization = "l2"
) -> Array:
    """Bases that explain the tokens best, given responsibilities (the M step).

    `μ_k = Σ_n z_nk x_n / (ε + Σ_n z_nk)`, then normalised over the channels.

    Args:
        x: tokens, (..., N, C).
        responsibilities: (..., N, K).
        normalization: "l2" divides by `ε + ‖μ_k‖₂`; "layer" subtracts the mean and
            divides by `ε +` the standard deviation; "none" leaves the means.

    Returns:
        Bases, (..., K, C).

    Example:
        >>> x = jnp.array([[1.0, 0.0], [3.0, 0.0]])
        >>> maximization(x, jnp.ones((2, 1)), normalization="none").round(3)
        Array([[2., 0.]], dtype=float32)
    """
    weight = jnp.sum(responsibilities, axis=-2)[..., None]
    bases = jnp.einsum("...nk,...nc->...kc", responsibilities, x) / (EPSILON + weight)
    return normalize(bases, normalization)


def normalize(bases: Array, normalization: Normalization) -> Array:
    """Normalise each basis over its channels; see `maximization`."""
    if normalization == "l2":
        norm = jnp.linalg.norm(bases, axis=-1, keepdims=True)
        return bases / (EPSILON + norm)
    if normalization == "layer":
        centred = bases - jnp.mean(bases, axis=-1, keepdims=True)
        return centred / (EPSILON + jnp.std(bases, axis=-1, keepdims=True))
    return bases


def reconstruct(responsibilities: Array, bases: Array) -> Array:
    """Tokens re-estimated from the bases, `X̃ = Z μ`: (..., N, K), (..., K, C).

    Example:
        >>> reconstruct(jnp.array([[0.5, 0.5]]), jnp.array([[1.0, 0.0], [0.0, 1.0]]))
        Array([[0.5, 0.5]], dtype=float32)
    """
    return jnp.einsum("...nk,...kc->...nc", responsibilities, bases)


def em_attention(
    x: Array,
    bases: Array,
    *,
    num_iters: int | Array = 3,
    temperature: float | Array = 1.0,
    kernel: Kernel = "dot",
    normalization: Normalization = "l2",
    gradient: Gradient = "stop",
    mask: Array | None = None,
    implementation: Implementation | None = None,
) -> EMAttention:
    """Replace tokens by their projection on bases found by EM iterations.

    From `bases` = μ⁰, `num_iters` times an E step with the μ of the step before and an
    M step; then `X̃ = Z μ` with the last Z and the last μ. Cost O(N·K·C·T), linear in
    the tokens.

    Args:
        x: tokens, (..., N, C), any floating type.
        bases: initial bases μ⁰, (K, C), or (..., K, C) for one set per batch element.
        num_iters: T ≥ 1; a traced integer is allowed unless `gradient="unroll"`.
        temperature: λ of the E step.
        kernel: "dot" or "gaussian"; see `expectation`.
        normalization: "l2", "layer" or "none"; see `maximization`.
        gradient: what the backward pass sees. "stop": nothing, as in the published
            code. "last_step": the last iteration. "unroll": every iteration.
        mask: (..., N), true where a token exists. The others get no responsibility,
            weigh nothing in any sum and come back as zeros.
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
    """
    _check(x, bases, num_iters, mask)
    for name, value, options in (
        ("kernel", kernel, Kernel),
        ("normalization", normalization, Normalization),
        ("gradient", gradient, Gradient),
    ):
        check_option(name, value, get_args(options))
    check_option("implementation", implementation, (None, *get_args(Implementation)))

    dtype = jnp.promote_types(x.dtype, jnp.float32)
    tokens = x.astype(dtype)
    if mask is not None:  # 0 · NaN is NaN: absent tokens must not reach a sum
        tokens = jnp.where(mask[..., None], tokens, 0)
    if gradient == "stop":
        tokens, bases = lax.stop_gradient((tokens, bases))
        temperature = lax.stop_gradient(temperature)

    def iterate(tokens: Array, bases: Array) -> tuple[Array, Array]:
        responsibilities = expectation(
            tokens, bases, temperature=temperature, kernel=kernel, mask=mask
        )
        bases = maximization(tokens, responsibilities, normalization=normalization)
        return bases, responsibilities

    shape = (*x.shape[:-2], *bases.shape[-2:])
    bases = jnp.broadcast_to(bases.astype(dtype), shape)
    early = tokens if gradient == "unroll" else lax.stop_gradient(tokens)
    bases = lax.fori_loop(0, num_iters - 1, lambda _, mu: iterate(early, mu)[0], bases)
    if gradient == "last_step":
        bases = lax.stop_gradient(bases)
    bases, responsibilities = iterate(tokens, bases)
    features = reconstruct(responsibilities, bases).astype(x.dtype)
    return EMAttention(features, bases, responsibilities)


def check_option(name: str, value: object, options: tuple[object, ...]) -> None:
    """Raise a ValueError that lists the options unless `value` is one of them."""
    if value not in options:
        raise ValueError(f"{name}={value!r} is unknown; choose one of {options}")


def _check(x: Array, bases: Array, num_iters: int | Array, mask: Array | None) -> None:
    if x.ndim < 2:
        raise ValueError(f"x has shape {x.shape}; give tokens as (..., N, C)")
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"x has type {x.dtype}; convert it to a floating type")
    if bases.ndim < 2 or bases.shape[-1] != x.shape[-1]:
        raise ValueError(
            f"bases of shape {bases.shape} do not fit x of shape {x.shape}; "
            f"give (K, {x.shape[-1]}) or (..., K, {x.shape[-1]})"
        )
    if bases.ndim > 2 and bases.shape[:-2] != x.shape[:-2]:
        raise ValueError(
            f"bases of shape {bases.shape} have other leading axes than x, {x.shape}; "
            f"give (K, C) or {(*x.shape[:-2], 'K', 'C')}"
        )
    if mask is not None and mask.shape != x.shape[:-1]:
        raise ValueError(
            f"mask has shape {mask.shape}; x of shape {x.shape} needs {x.shape[:-1]}"
        )
    if isinstance(num_iters, int) and num_iters < 1:
        raise ValueError(f"num_iters={num_iters}; give at least 1")
