"""Expectation-maximization attention: the paper on one page, as pure functions.

    E   Z = softmax_k(λ · X μᵀ)             responsibilities, N×K
    M   μ_k = Σ_n z_nk x_n / (ε + Σ_n z_nk)  then divided by its norm, K×C
    R   X̃ = Z μ                              re-estimation, N×C

N is the number of tokens (pixels), C of channels, K of bases. Everything is summed in
float32 or wider, whatever the type of X.

Li et al., "Expectation-Maximization Attention Networks for Semantic Segmentation",
ICCV 2019, https://arxiv.org/abs/1907.13426
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array, lax

from ema_jax.components import (
    VARIANCE_FLOOR,
    Components,
    as_components,
    einsum,
    estimate,
    estimate_mixture,
    estimated,
    initial_components,
    scores,
)
from ema_jax.fixed_point import fixed_point, repeat
from ema_jax.operation import Operation
from ema_jax.options import (
    Assignment,
    AxisName,
    Covariance,
    Gradient,
    Implementation,
    Kernel,
    Mixing,
    Normalization,
    check_choices,
    check_mixture_options,
    check_num_iters,
    check_starts,
    check_temperature,
    check_tokens,
)
from ema_jax.prepare import prepare


@struct.dataclass
class EMAttention:
    """What `em_attention` returns; it unpacks as (features, bases, responsibilities).

    Attributes:
        features: re-estimated tokens X̃ = Z μ, (..., N, C), in the type of the input.
        bases: μ after the last M step, (..., K, C), float32 or wider.
        responsibilities: Z of the last E step, (..., N, K), float32 or wider.
        covariances: variances σ² after the last M step, (..., K) for "spherical" and
            (..., K, C) for "diagonal"; None for "fixed".
        proportions: shares π of the bases after it, (..., K); None for "uniform".

    Example:
        >>> attended = em_attention(jnp.eye(3), jnp.eye(3)[:2], temperature=9.0)
        >>> attended.responsibilities.argmax(axis=-1)[:2]
        Array([0, 1], dtype=int32)
    """

    features: Array
    bases: Array
    responsibilities: Array
    covariances: Array | None = None
    proportions: Array | None = None

    def __iter__(self) -> Iterator[Array]:
        return iter((self.features, self.bases, self.responsibilities))

    def __getitem__(self, index: int) -> Array:
        return tuple(self)[index]


def expectation(
    x: Array,
    bases: Array | Components,
    *,
    temperature: float | Array = 1.0,
    kernel: Kernel = "dot",
    assignment: Assignment = "soft",
    mask: Array | None = None,
) -> Array:
    """Responsibility of every basis for every token (the E step).

    `z_nk = exp(λ κ(x_n, μ_k)) / Σ_j exp(λ κ(x_n, μ_j))` with `κ(x, μ) = x·μ` for the
    kernel "dot" and `κ(x, μ) = -‖x-μ‖²/2` for "gaussian", whose variance is 1/λ.
    Of a whole mixture, `z_nk ∝ π_k N(x_n; μ_k, σ²_k)`.

    Args:
        x: tokens, (..., N, C).
        bases: (K, C), or (..., K, C) for bases of each batch element; or `Components`.
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
    components = as_components(bases)
    score = scores(x, components, temperature, kernel)
    responsibilities = softmax_over_bases(score)
    if assignment == "hard":
        largest = jnp.argmax(score, axis=-1)
        nearest = jax.nn.one_hot(largest, score.shape[-1], dtype=score.dtype)
        responsibilities += lax.stop_gradient(nearest - responsibilities)
    if mask is not None:
        responsibilities = jnp.where(mask[..., None], responsibilities, 0)
    return responsibilities


@jax.custom_jvp
def softmax_over_bases(score: Array) -> Array:
    """Softmax of (..., N, K) over its last axis.

    For CPUs jaxlib 0.10 may compile the plain softmax of a product with bases broadcast
    over a batch wrongly, to 1/K everywhere. There the largest is found by halves, which
    is right, and faster than going along the rows of the transpose.
    """
    return SOFTMAX(score)


@softmax_over_bases.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """`dz_k = z_k (ds_k - Σ_j z_j ds_j)`."""
    [score], [tangent] = primals, tangents
    z = softmax_over_bases(score)
    return z, z * (tangent - jnp.sum(z * tangent, axis=-1, keepdims=True))


def _softmax(score: Array) -> Array:
    return jax.nn.softmax(score.mT, axis=-2).mT


def _softmax_by_halves(score: Array) -> Array:
    largest = score
    while largest.shape[-1] > 1:
        half = -(-largest.shape[-1] // 2)  # of an odd number they share one
        largest = jnp.maximum(largest[..., :half], largest[..., -half:])
    weights = jnp.exp(score - largest)
    return weights / jnp.sum(weights, axis=-1, keepdims=True)


SOFTMAX = Operation("softmax", _softmax_by_halves, _softmax)


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
    return estimate(
        x, responsibilities, normalization=normalization, axis_name=axis_name
    )


def reconstruct(responsibilities: Array, bases: Array) -> Array:
    """Tokens re-estimated from the bases, `X̃ = Z μ`: (..., N, K), (..., K, C).

    Example:
        >>> reconstruct(jnp.array([[0.5, 0.5]]), jnp.array([[1.0, 0.0], [0.0, 1.0]]))
        Array([[0.5, 0.5]], dtype=float32)
    """
    return einsum("...nk,...kc->...nc", responsibilities, bases)


def em_step(
    x: Array,
    components: Components,
    *,
    temperature: float | Array = 1.0,
    kernel: Kernel = "dot",
    normalization: Normalization = "l2",
    assignment: Assignment = "soft",
    variance_floor: float = VARIANCE_FLOOR,
    mask: Array | None = None,
    axis_name: AxisName | None = None,
) -> tuple[Components, Array]:
    """One EM iteration: `Z = E(x, μ)`, then `μ' = M(x, Z)`; returns (μ', Z).

    The arguments are those of `em_attention`; nothing is converted. Variances and
    proportions are estimated where the components have them.

    Example:
        >>> components, z = em_step(jnp.eye(3), Components(jnp.eye(3)[:2]))
        >>> components.bases.shape, z.shape
        ((2, 3), (3, 2))
    """
    responsibilities = expectation(
        x,
        components,
        temperature=temperature,
        kernel=kernel,
        assignment=assignment,
        mask=mask,
    )
    over: dict[str, Any] = {"normalization": normalization, "axis_name": axis_name}
    if components.variances is None and components.proportions is None:
        return Components(maximization(x, responsibilities, **over)), responsibilities
    return estimate_mixture(
        x, responsibilities, components, variance_floor=variance_floor, **over
    ), responsibilities


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
    covariance: Covariance = "fixed",
    mixing: Mixing = "uniform",
    covariances: Array | None = None,
    proportions: Array | None = None,
    variance_floor: float = VARIANCE_FLOOR,
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
        covariance: of the Gaussian kernel. "fixed": 1/λ. "spherical": a variance of
            each basis, "diagonal": of each of its channels, estimated by the M steps
            from 1/λ on; see `estimate_mixture`.
        mixing: "uniform", or "learned": the shares of the bases, from 1/K on, likewise.
        covariances: (..., K) or (..., K, C) to start from in place of 1/λ.
        proportions: (..., K) to start from in place of 1/K; positive, their sum one.
        variance_floor: no variance is estimated below it, so that a basis on a single
            token keeps a density.
        mask: (..., N), true where a token exists. The others get no responsibility,
            weigh nothing in any sum and come back as zeros.
        axis_name: mapped axis over which the tokens are split; see `maximization`.
            Its devices exchange K·(C+1) numbers an iteration, and the K or K·C second
            moments of a mixture with them.
        implementation: None chooses; "xla" is the reference.

    Returns:
        `EMAttention(features, bases, responsibilities)`, and what was estimated with
        them.

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

        A Gaussian mixture, whole:

        >>> mixture = em_attention(
        ...     x, mu, kernel="gaussian", normalization="none",
        ...     covariance="diagonal", mixing="learned",
        ... )
        >>> mixture.covariances.shape, mixture.proportions.shape
        ((2, 4, 8), (2, 4))

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
    check_mixture_options(kernel, covariance, mixing, temperature, variance_floor)
    check_starts(bases, covariance, mixing, covariances, proportions)
    components = initial_components(
        bases, temperature, covariance, mixing, covariances, proportions
    )
    tokens, components = prepare(x, components, mask, axis_name)
    theta = tokens, jnp.asarray(temperature, tokens.dtype), mask
    if gradient == "stop":
        components, theta = lax.stop_gradient((components, theta))

    def step(
        components: Components,
        tokens: Array,
        temperature: float | Array,
        mask: Array | None,
    ) -> tuple[Components, Array]:
        return em_step(
            tokens,
            components,
            temperature=temperature,
            kernel=kernel,
            normalization=normalization,
            assignment=assignment,
            variance_floor=variance_floor,
            mask=mask,
            axis_name=axis_name,
        )

    def update(components: Components, *theta: Any) -> Components:
        return step(components, *theta)[0]

    if gradient == "unroll":
        components = repeat(update, components, num_iters - 1, *theta)
    elif gradient == "implicit":
        components = fixed_point(update, components, num_iters - 1, *theta)
    else:  # "last_step": nothing of the early iterations is seen
        early, stopped = lax.stop_gradient((components, theta))
        components = repeat(update, early, num_iters - 1, *stopped)
    components, responsibilities = step(components, *theta)
    features = reconstruct(responsibilities, components.bases).astype(x.dtype)
    return EMAttention(
        features, components.bases, responsibilities, *estimated(components, covariance)
    )
