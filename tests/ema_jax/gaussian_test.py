"""The Gaussian mixture whole: variances and shares, against scikit-learn and scipy."""

import re
import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from ema_jax import EMAU, em_attention, em_trace, mixture_log_likelihood
from tests.golden.rebuild import relative_error
from tests.quick import run
from tests.versions import enable_x64

PROBLEMS, TOKENS, CHANNELS, BASES, ITERS = 32, 40, 5, 4, 50
SKLEARNS = {"spherical": "spherical", "diagonal": "diag"}
KINDS = [
    ("spherical", "uniform"),
    ("spherical", "learned"),
    ("diagonal", "uniform"),
    ("diagonal", "learned"),
    ("fixed", "learned"),
]
FEW = [KINDS[0], *KINDS[3:]]
"""Each option at each of its values."""

GAUSSIAN = {"kernel": "gaussian", "normalization": "none"}
OPTIONS = ("kernel", "normalization", "covariance", "mixing")

trace = jax.jit(em_trace, static_argnames=(*OPTIONS, "num_iters"))
attend = jax.jit(em_attention, static_argnames=(*OPTIONS, "gradient"))
likelihood = jax.jit(mixture_log_likelihood, static_argnames="kernel")


@pytest.fixture(autouse=True)
def float64():
    with enable_x64():
        yield


def problems(seed: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Clustered tokens, each channel of a scale of its own, and random first bases."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((PROBLEMS, 1 + seed % 7, CHANNELS))
    chosen = rng.integers(centres.shape[1], size=(PROBLEMS, TOKENS))
    x = np.take_along_axis(centres, chosen[..., None], axis=1)
    x += spread * rng.standard_normal(x.shape)
    x *= rng.uniform(0.3, 3, CHANNELS)
    return x, rng.standard_normal((PROBLEMS, BASES, CHANNELS))


@pytest.mark.parametrize("covariance", SKLEARNS)
def test_it_is_sklearns_mixture_step_by_step(covariance):
    x, mu = (array[0] for array in problems(5, 0.5))
    variances, weights = np.full((BASES, CHANNELS), 2 / 3), np.full(BASES, 1 / BASES)
    if covariance == "spherical":
        variances = variances[:, 0]
    start = {"temperature": 1.5}  # the same variances
    for _ in range(20):
        peer = GaussianMixture(
            BASES,
            covariance_type=SKLEARNS[covariance],
            max_iter=1,
            reg_covar=0,
            means_init=mu,
            precisions_init=1 / variances,
            weights_init=weights,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            peer.fit(x)
        options = {"covariance": covariance, "mixing": "learned", **GAUSSIAN}
        ours = attend(x, mu, num_iters=1, **start, **options)
        mu, variances, weights = peer.means_, peer.covariances_, peer.weights_
        assert relative_error(ours.bases, mu) < 1e-5
        assert relative_error(ours.covariances, variances) < 1e-5
        assert relative_error(ours.proportions, weights) < 1e-5
        start = {"covariances": variances, "proportions": weights}
    assert variances.max() > 2 * variances.min()
    assert weights.max() > 1.5 * weights.min()


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    spread=st.floats(0.01, 3),
    temperature=st.floats(0.05, 50),
    kind=st.sampled_from(KINDS),
    masked=st.floats(0, 0.9),
)
def test_the_likelihood_never_falls(seed, spread, temperature, kind, masked):
    """With few tokens bases collapse on one, and the floor holds them."""
    x, mu = problems(seed, spread)
    steps = trace(
        x,
        mu,
        num_iters=ITERS,
        temperature=temperature,
        covariance=kind[0],
        mixing=kind[1],
        mask=np.random.default_rng(seed).random((PROBLEMS, TOKENS)) >= masked,
        **GAUSSIAN,
    )
    found = np.asarray(steps.log_likelihood)
    fall = found[:-1] - found[1:]
    assert np.max(fall / np.abs(found).max()) < 1e-9


@pytest.mark.parametrize("covariance", SKLEARNS)
def test_the_likelihood_is_scipys(covariance):
    x, mu = (array[0] for array in problems(1, 1.0))
    rng = np.random.default_rng(0)
    wide = (BASES, CHANNELS) if covariance == "diagonal" else (BASES, 1)
    variances, shares = rng.uniform(0.1, 2, wide), rng.dirichlet(np.ones(BASES))
    density = [
        np.log(share) + multivariate_normal(m, np.diag(np.ones(CHANNELS) * v)).logpdf(x)
        for m, v, share in zip(mu, variances, shares, strict=True)
    ]
    actual = likelihood(
        x,
        mu,
        kernel="gaussian",
        covariances=variances if covariance == "diagonal" else variances[:, 0],
        proportions=shares,
    )
    np.testing.assert_allclose(actual, logsumexp(density, axis=0).sum(), rtol=1e-10)


def float32_problem():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((30, 6)).astype(np.float32)
    mu = np.concatenate([x[:3], np.full((1, 6), 1e3)]).astype(np.float32)
    return x, mu


@pytest.mark.parametrize(("covariance", "mixing"), FEW)
def test_a_basis_without_tokens_stays_as_it_was(covariance, mixing):
    x, mu = float32_problem()
    options = {"covariance": covariance, "mixing": mixing, **GAUSSIAN}
    for gradient in ("last_step", "unroll", "implicit"):

        def objective(x, gradient=gradient):
            found = em_attention(x, mu, num_iters=40, gradient=gradient, **options)
            leaves = jax.tree.leaves(found)
            return sum(jnp.sum(jnp.sin(leaf)) for leaf in leaves), found

        slope, found = jax.device_get(run(jax.grad(objective, has_aux=True), x))
        assert np.isfinite(slope).all()
        assert np.any(slope)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
        np.testing.assert_allclose(found.bases[3], mu[3], rtol=1e-5)
        if covariance != "fixed":
            np.testing.assert_allclose(found.covariances[3], 1, rtol=1e-5)
        if mixing == "learned":
            assert found.proportions[3] < 1e-6
            np.testing.assert_allclose(found.proportions.sum(), 1, rtol=1e-6)


def test_a_basis_on_a_single_token_has_the_variance_of_the_floor():
    x = 10 * float32_problem()[0][:2]
    found = attend(
        x,
        x + 0.01,
        num_iters=20,
        covariance="spherical",
        variance_floor=0.25,
        **GAUSSIAN,
    )
    assert np.asarray(found.covariances)[0] == 0.25
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


def test_variances_are_about_the_normalised_bases():
    x, mu = (array[0] for array in problems(3, 1.0))
    options = {"kernel": "gaussian", "normalization": "l2", "num_iters": 1}
    found = attend(x, mu, covariance="diagonal", **options)
    z = np.asarray(found.responsibilities)
    square = np.square(x[:, None] - np.asarray(found.bases))
    wanted = np.einsum("nk,nkc->kc", z, square) / z.sum(0)[:, None]
    np.testing.assert_allclose(found.covariances, wanted, rtol=1e-5)


@pytest.mark.parametrize(("covariance", "mixing"), FEW)
def test_only_the_tokens_of_the_mask_count(covariance, mixing):
    x, mu = (array[0] for array in problems(4, 0.7))
    mask = np.random.default_rng(1).random(TOKENS) > 0.4
    options = {"covariance": covariance, "mixing": mixing, **GAUSSIAN}
    padded = np.where(mask[:, None], x, np.nan)
    expected, actual = jax.device_get(
        (attend(x[mask], mu, **options), attend(padded, mu, mask=mask, **options))
    )
    for name in ("bases", "covariances", "proportions"):
        if getattr(expected, name) is not None:
            wanted = getattr(expected, name)
            np.testing.assert_allclose(getattr(actual, name), wanted, rtol=1e-9)
    np.testing.assert_allclose(actual.features[mask], expected.features, rtol=1e-9)
    assert not np.any(actual.features[~mask])


def test_tokens_over_devices_cost_one_exchange_an_iteration():
    x, mu = (array[0] for array in problems(4, 0.7))
    options = {"covariance": "diagonal", "mixing": "learned", **GAUSSIAN}
    expected = attend(x, mu, num_iters=5, **options)
    mesh = Mesh(np.array(jax.devices()), ("space",))
    program = jax.jit(
        jax.shard_map(
            partial(em_attention, num_iters=5, axis_name="space", **options),
            mesh=mesh,
            in_specs=(P("space"), P()),
            out_specs=type(expected)(P("space"), P(), P("space"), P(), P()),
        )
    )
    for actual, wanted in zip(
        jax.tree.leaves(program(x, mu)), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(actual, wanted, rtol=1e-9, atol=1e-12)
    text = program.lower(x, mu).as_text()
    assert len(re.findall("all_reduce", text)) == 2  # in the loop, and after it


@pytest.mark.parametrize(("covariance", "mixing"), FEW)
def test_gradients(covariance, mixing):
    """Finite differences; of "implicit" where EM has converged."""
    x, mu = (array[0] for array in problems(8, 1.0))
    options = {"covariance": covariance, "mixing": mixing, **GAUSSIAN}
    # A floor that nothing reaches, and few bases that all serve: one fixed point.
    mu, rng = x[:2], np.random.default_rng(3)
    shapes = jax.eval_shape(partial(em_attention, **options), x, mu)
    cotangent = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape), shapes)

    @partial(jax.jit, static_argnums=(1, 2))
    @jax.value_and_grad
    def program(x, gradient, num_iters):
        found = em_attention(x, mu, gradient=gradient, num_iters=num_iters, **options)
        terms = jax.tree.map(lambda a, b: jnp.sum(a * b), found, cotangent)
        return sum(jax.tree.leaves(terms))

    def gradient(mode, num_iters):
        return np.asarray(program(x, mode, num_iters)[1])

    directions = rng.standard_normal((20, *x.shape))
    for mode, num_iters, limit in (("unroll", 3, 1e-5), ("implicit", 400, 1e-3)):
        found = np.tensordot(directions, gradient(mode, num_iters), 2)
        up, down = (
            np.array([program(x + h * d, mode, num_iters)[0] for d in directions])
            for h in (1e-6, -1e-6)
        )
        np.testing.assert_allclose(found, (up - down) / 2e-6, rtol=limit)
    assert not np.any(gradient("stop", 3))


@pytest.mark.parametrize("channels", [1, CHANNELS])
def test_what_was_found_goes_on_to_the_next_frame(channels):
    x, mu = (array[:2, :, :channels] for array in problems(6, 1.0))
    options = {"covariance": "spherical", "mixing": "learned", **GAUSSIAN}
    half = attend(x, mu, num_iters=2, **options)
    whole = attend(x, mu, num_iters=5, **options)
    again = attend(
        x,
        half.bases,
        num_iters=3,
        covariances=half.covariances,
        proportions=half.proportions,
        **options,
    )
    for actual, wanted in zip(
        jax.tree.leaves(again), jax.tree.leaves(whole), strict=True
    ):
        np.testing.assert_allclose(actual, wanted, rtol=1e-10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"covariance": "full"}, "covariance='full' is unknown"),
        ({"covariance": "diagonal"}, "covariance='diagonal' is of a Gaussian mixture"),
        ({"mixing": "learned"}, "mixing='learned' is of a Gaussian mixture"),
        ({"covariance": "spherical", "temperature": 0.0, **GAUSSIAN}, "temperature=0"),
        ({"variance_floor": 0.0}, "variance_floor=0.0; give a number above 0"),
        ({"proportions": np.ones(4)}, "mixing='uniform' estimates none"),
        ({"covariances": np.ones(4)}, "covariance='fixed' estimates none"),
        (
            {"covariance": "diagonal", "covariances": np.ones(4), **GAUSSIAN},
            r"covariances has shape \(4,\); covariance='diagonal' needs \(4, 6\)",
        ),
    ],
)
def test_what_does_not_fit_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        em_attention(*float32_problem(), **options)


def test_the_unit_with_heads_a_mask_and_bfloat16():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 5, 7, 8)).astype(jnp.bfloat16)
    mask = rng.random((2, 5, 7)) > 0.3
    unit = EMAU(
        num_bases=3,
        num_heads=2,
        covariance="diagonal",
        mixing="learned",
        dtype=jnp.bfloat16,
        gradient="last_step",
        **GAUSSIAN,
    )
    variables = unit.init(jax.random.key(0), x, train=False)
    assert set(variables["batch_stats"]) == {"bases", "bn"}  # as without
    y, state = jax.device_get(
        unit.apply(
            variables, x, mask, train=True, mutable=["batch_stats", "intermediates"]
        )
    )
    seen = state["intermediates"]
    assert y.dtype == jnp.bfloat16
    assert seen["covariances"][0].shape == (2, 2, 3, 4)
    np.testing.assert_allclose(seen["proportions"][0].sum(-1), 1, rtol=1e-6)
    before = np.asarray(variables["batch_stats"]["bases"])
    assert np.any(state["batch_stats"]["bases"] != before)


def test_the_unit_refuses_a_temperature_that_learns_nothing():
    """It is where the variances start, and only "unroll" goes back so far."""
    unit = EMAU(
        covariance="spherical", learn_temperature=True, gradient="last_step", **GAUSSIAN
    )
    with pytest.raises(ValueError, match="needs gradient='unroll'"):
        unit.init(jax.random.key(0), np.zeros((1, 4, 8)), train=False)
