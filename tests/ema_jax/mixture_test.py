"""EM attention is expectation-maximization: its theory, and scikit-learn's peer."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.special import ive
from scipy.stats import multivariate_normal
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from ema_jax import em_attention, em_trace, mixture_log_likelihood
from ema_jax.components import EPSILON
from ema_jax.mixture import dead_bases, mean_entropy
from tests.golden.rebuild import relative_error
from tests.quick import run
from tests.versions import enable_x64

PROBLEMS, TOKENS, CHANNELS, BASES, ITERS = 32, 40, 5, 4, 50
"""Many problems of one shape share one compiled program."""


@pytest.fixture(autouse=True)
def float64():
    with enable_x64():
        yield


OPTIONS = ("kernel", "normalization", "assignment")

trace = jax.jit(em_trace, static_argnames=("num_iters", *OPTIONS))
attend = jax.jit(em_attention, static_argnames=OPTIONS)
likelihood = jax.jit(mixture_log_likelihood, static_argnames="kernel")


def problems(seed: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Tokens in clusters, of a tightness that differs, and random first bases."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((PROBLEMS, 1 + seed % 7, CHANNELS))
    chosen = rng.integers(centres.shape[1], size=(PROBLEMS, TOKENS))
    x = np.take_along_axis(centres, chosen[..., None], axis=1)
    x += spread * rng.standard_normal(x.shape)
    return x, rng.standard_normal((PROBLEMS, BASES, CHANNELS))


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def assert_never_falls(values: np.ndarray) -> None:
    fall = values[:-1] - values[1:]
    assert np.max(fall / np.abs(values[1:]).max()) < 1e-9


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    spread=st.floats(0.01, 3),
    temperature=st.floats(0.05, 50),
    masked=st.floats(0, 0.9),
)
def test_likelihood_of_the_von_mises_fisher_mixture_never_falls(
    seed, spread, temperature, masked
):
    """20 examples of 32 problems each."""
    x, mu = problems(seed, spread)
    mask = np.random.default_rng(seed).random((PROBLEMS, TOKENS)) >= masked
    steps = trace(
        unit(x), unit(mu), num_iters=ITERS, temperature=temperature, mask=mask
    )
    assert_never_falls(np.asarray(steps.log_likelihood))


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    spread=st.floats(0.01, 3),
    temperature=st.floats(0.05, 50),
)
@example(seed=6386, spread=0.01, temperature=29.0)  # falls without the prior
def test_likelihood_of_the_gaussian_mixture_never_falls(seed, spread, temperature):
    """With the prior on the bases that ε in the denominator of the mean stands for.

    `m N_k / (N_k + ε)` is where `λ N_k ‖μ - m‖² / 2 + λ ε ‖μ‖² / 2` is least.
    """
    x, mu = problems(seed, spread)
    steps = trace(
        x,
        mu,
        num_iters=ITERS,
        temperature=temperature,
        kernel="gaussian",
        normalization="none",
        mask=np.ones((PROBLEMS, TOKENS), bool),
    )
    squares = np.square(np.asarray(steps.bases)).sum(axis=(-2, -1))
    prior = -temperature * EPSILON / 2 * squares
    assert_never_falls(np.asarray(steps.log_likelihood) + prior)


def test_gaussian_kernel_is_sklearns_mixture_step_by_step():
    """Equal weights and one fixed isotropic covariance, held by starting anew."""
    x, mu = (array[0] for array in problems(5, 0.5))
    temperature, means = 3.0, mu
    steps = trace(
        x,
        mu,
        num_iters=20,
        temperature=temperature,
        kernel="gaussian",
        normalization="none",
    )
    bases = np.asarray(steps.bases)
    for step in range(20):
        peer = GaussianMixture(
            BASES,
            covariance_type="spherical",
            max_iter=1,
            weights_init=np.full(BASES, 1 / BASES),
            means_init=means,
            precisions_init=np.full(BASES, temperature),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            means = peer.fit(x).means_
        assert relative_error(bases[step], means) < 1e-5


def test_gaussian_likelihood_is_scipys():
    x, mu = (array[0] for array in problems(1, 1.0))
    density = np.mean(
        [multivariate_normal(m, np.eye(CHANNELS) / 2.5).pdf(x) for m in mu], axis=0
    )
    mask = np.arange(TOKENS) % 3 > 0
    for chosen in (None, mask):
        actual = likelihood(x, mu, temperature=2.5, kernel="gaussian", mask=chosen)
        rows = slice(None) if chosen is None else chosen
        np.testing.assert_allclose(actual, np.log(density[rows]).sum(), rtol=1e-10)


def test_dot_likelihood_lacks_the_normaliser_of_von_mises_fisher_alone():
    """Its density, normaliser included, integrates to one over the sphere."""
    concentration, rng = 4.0, np.random.default_rng(0)
    x = unit(rng.standard_normal((200_000, 3)))
    mu = unit(rng.standard_normal((2, 3)))
    density = np.exp(likelihood(x[:, None], mu, temperature=concentration))
    order = 3 / 2 - 1
    normaliser = concentration**order / (
        (2 * np.pi) ** 1.5 * ive(order, concentration) * np.exp(concentration)
    )
    integral = 4 * np.pi * normaliser * np.mean(density)
    np.testing.assert_allclose(integral, 1, rtol=0.01)


@pytest.mark.parametrize(
    ("kernel", "normalization", "temperature"),
    [("dot", "l2", 6.0), ("gaussian", "none", 6.0)],
)
def test_implicit_gradient_is_that_of_many_unrolled_iterations(
    kernel, normalization, temperature
):
    x, _ = problems(3, 0.3)
    x = unit(x[:2])
    start, rng = x[:, :BASES], np.random.default_rng(4)
    of_features = rng.standard_normal(x.shape)
    of_bases = rng.standard_normal(start.shape)

    def gradients(mode):
        def objective(x, temperature):
            result = em_attention(
                x,
                start,
                num_iters=200,
                temperature=temperature,
                kernel=kernel,
                normalization=normalization,
                gradient=mode,
            )
            return jnp.sum(result.features * of_features) + jnp.sum(
                result.bases * of_bases
            )

        return jax.jit(jax.grad(objective, (0, 1)))(x, temperature)

    for implicit, unrolled in zip(
        gradients("implicit"), gradients("unroll"), strict=True
    ):
        assert np.abs(unrolled).max() > 1e-3
        assert relative_error(implicit, unrolled) < 1e-3


def compiled_memory(mode: str, num_iters: int) -> int:
    def objective(x, mu):
        result = em_attention(x, mu, num_iters=num_iters, gradient=mode)
        return jnp.sum(jnp.square(result.features))

    x = jax.ShapeDtypeStruct((2, 2048, 32), jnp.float32)
    mu = jax.ShapeDtypeStruct((16, 32), jnp.float32)
    compiled = jax.jit(jax.grad(objective)).lower(x, mu).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def test_memory_of_the_implicit_gradient_does_not_grow_with_the_iterations():
    assert compiled_memory("implicit", 100) == compiled_memory("implicit", 3)
    assert compiled_memory("unroll", 100) > 5 * compiled_memory("unroll", 3)


@pytest.mark.parametrize("assignment", ["soft", "hard"])
def test_trace_tells_what_the_iterations_did(assignment):
    x, mu = problems(2, 1.0)
    options = {"temperature": 2.0, "assignment": assignment}
    steps = jax.device_get(trace(x, mu, num_iters=4, **options))
    previous = mu
    for step in range(4):
        done = jax.device_get(attend(x, mu, num_iters=step + 1, **options))
        np.testing.assert_allclose(steps.bases[step], done.bases, atol=1e-12)
        change = np.linalg.norm(done.bases - previous, axis=(-2, -1))
        np.testing.assert_allclose(steps.change[step], change, atol=1e-12)
        z = done.responsibilities
        entropy = -np.sum(z * np.log(np.where(z > 0, z, 1)), axis=-1).mean(-1)
        np.testing.assert_allclose(steps.entropy[step], entropy, atol=1e-12)
        alive = [len(set(image)) for image in z.argmax(-1)]
        np.testing.assert_array_equal(steps.dead_bases[step], BASES - np.array(alive))
        previous = done.bases


def test_entropy_has_a_slope_where_a_basis_has_no_share():
    z = np.array([[0.25, 0.75, 0.0]])
    [slope] = np.asarray(run(jax.grad(mean_entropy), z))
    np.testing.assert_allclose(slope[:2], -np.log([0.25, 0.75]) - 1, rtol=1e-6)
    assert slope[2] == 0


def test_diagnostics_of_masked_tokens():
    z = np.array([[0.5, 0.5], [0.0, 1.0], [0.0, 0.0]])
    mask = np.array([[True, True, False], [False, True, False], [False] * 3])
    entropy, dead = run(lambda z: (mean_entropy(z, mask), dead_bases(z, mask)), z)
    np.testing.assert_allclose(entropy, [np.log(2) / 2, 0, 0])
    np.testing.assert_array_equal(dead, [0, 1, 2])


@pytest.mark.parametrize("mode", ["last_step", "unroll"])
@pytest.mark.parametrize(
    ("kernel", "normalization"),
    [("dot", "l2"), ("dot", "layer"), ("gaussian", "none")],
)
def test_gradients_are_finite_differences(mode, kernel, normalization):
    """Random cotangents, in float64; what is stopped is held fixed."""
    x, mu = (array[0] for array in problems(6, 1.0))
    options = {"kernel": kernel, "normalization": normalization}
    mask = np.arange(TOKENS) % 5 > 0
    rng = np.random.default_rng(7)
    shapes = x.shape, mu.shape, (TOKENS, BASES)
    cotangents = [rng.standard_normal(shape) for shape in shapes]
    directions = rng.standard_normal(x.shape), rng.standard_normal()

    def objective(x, temperature):
        outputs = em_attention(
            x, mu, temperature=temperature, mask=mask, gradient=mode, **options
        )
        return sum(jnp.sum(y * w) for y, w in zip(outputs, cotangents, strict=True))

    start, num_iters = mu, 3
    if mode == "last_step":
        before = attend(x, mu, num_iters=2, temperature=0.8, mask=mask, **options)
        start, num_iters = np.asarray(before.bases), 1

    def moved(h):
        given = {"num_iters": num_iters, "temperature": 0.8 + h * directions[1]}
        found = attend(x + h * directions[0], start, mask=mask, **given, **options)
        pairs = zip(jax.device_get(tuple(found)), cotangents, strict=True)
        return sum(np.sum(y * w) for y, w in pairs)

    dx, dt = jax.device_get(run(jax.grad(objective, (0, 1)), x, 0.8))
    slope = np.sum(dx * directions[0]) + dt * directions[1]
    h = 1e-6
    np.testing.assert_allclose(slope, (moved(h) - moved(-h)) / (2 * h), rtol=1e-6)
