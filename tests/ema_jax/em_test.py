"""EM attention against a float64 loop, PyTorch's golden values, and its theory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ema_jax import em_attention, mixture_log_likelihood
from tests.golden import cases, seeded
from tests.golden.rebuild import golden, relative_error
from tests.quick import run

attention = jax.jit(
    em_attention,
    static_argnames=("num_iters", "kernel", "normalization", "gradient"),
)


likelihood = jax.jit(mixture_log_likelihood, static_argnames="kernel")


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def reference(x, bases, num_iters, temperature, kernel, normalization):
    """SPEC's sums, one token and one basis at a time, in float64."""
    x, mu = x.astype(np.float64), bases.astype(np.float64)
    z = np.zeros((len(x), len(mu)))
    for _ in range(num_iters):
        for n, token in enumerate(x):
            if kernel == "dot":
                score = [temperature * np.dot(token, m) for m in mu]
            else:
                score = [-temperature * np.sum((token - m) ** 2) / 2 for m in mu]
            weight = np.exp(score - np.max(score))
            z[n] = weight / weight.sum()
        new = np.zeros_like(mu)
        for k in range(len(mu)):
            total = sum(z[n, k] * x[n] for n in range(len(x)))
            new[k] = total / (1e-6 + z[:, k].sum())
            if normalization == "l2":
                new[k] /= 1e-6 + np.sqrt(np.sum(new[k] ** 2))
            elif normalization == "layer":
                new[k] -= new[k].mean()
                new[k] /= 1e-6 + np.sqrt(np.mean(new[k] ** 2))
        mu = new
    return z @ mu, mu, z


@pytest.mark.parametrize("kernel", ["dot", "gaussian"])
@pytest.mark.parametrize("normalization", ["l2", "layer", "none"])
def test_equals_the_float64_loop(kernel, normalization):
    x, bases = random(37, 6), random(5, 6, seed=1)
    options = {"temperature": 0.7, "kernel": kernel, "normalization": normalization}
    result = attention(x, bases, num_iters=4, **options)
    expected = reference(x, bases, num_iters=4, **options)
    for actual, wanted in zip(result, expected, strict=True):
        assert relative_error(actual, wanted) < 1e-5


@pytest.mark.parametrize("num_iters", [1, 2])
@pytest.mark.parametrize("num_bases", [4, 16, 17, 32])
def test_few_iterations_from_bases_that_a_batch_shares(num_iters, num_bases):
    """Compiled whole, where a compiler may see that the bases are the same."""
    x, bases = random(4, 81, 64), random(num_bases, 64, seed=1)
    result = jax.device_get(attention(x, bases, num_iters=num_iters))
    for image in range(2):
        expected = reference(x[image], bases, num_iters, 1.0, "dot", "l2")
        for actual, wanted in zip(result, expected, strict=True):
            assert relative_error(actual[image], wanted) < 1e-5


@pytest.mark.parametrize("case", cases.ATTENTION, ids=lambda case: case.name)
def test_equals_pytorch(case):
    shape = (case.batch, case.tokens, case.channels)
    x = seeded.values("em.x", shape) * case.scale
    mu = seeded.values("em.mu", (1, case.channels, case.num_bases))[0].T
    result = attention(x, mu, num_iters=case.num_iters)
    for name in ("features", "bases", "responsibilities"):
        actual = getattr(result, name)
        assert relative_error(actual, golden("em")[f"{case.name}/{name}"]) < 1e-5


def test_responsibilities_sum_to_one_and_bases_have_unit_norm():
    _, bases, z = attention(random(2, 50, 8) * 3, random(7, 8, seed=1), num_iters=3)
    np.testing.assert_allclose(np.sum(z, axis=-1), 1, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(bases, axis=-1), 1, atol=1e-5)


def test_permuting_pixels_permutes_responsibilities_only():
    x, mu, order = random(40, 8), random(6, 8, seed=1), np.random.default_rng(2)
    order = order.permutation(40)
    features, bases, z = jax.device_get(attention(x, mu, num_iters=3))
    features2, bases2, z2 = attention(x[order], mu, num_iters=3)
    np.testing.assert_allclose(bases2, bases, atol=1e-5)
    np.testing.assert_allclose(z2, z[order], atol=1e-5)
    np.testing.assert_allclose(features2, features[order], atol=1e-5)


def test_permuting_bases_permutes_both():
    x, mu = random(40, 8), random(6, 8, seed=1)
    order = np.array([3, 1, 5, 0, 2, 4])
    features, bases, z = jax.device_get(attention(x, mu, num_iters=3))
    features2, bases2, z2 = attention(x, mu[order], num_iters=3)
    np.testing.assert_allclose(bases2, bases[order], atol=1e-5)
    np.testing.assert_allclose(z2, z[:, order], atol=1e-5)
    np.testing.assert_allclose(features2, features, atol=1e-5)


def test_no_token_gives_zeros():
    mask = np.zeros((1, 9), bool)
    found = attention(random(1, 9, 4), random(3, 4), num_iters=3, mask=mask)
    for leaf in jax.device_get(tuple(found)):
        assert not np.any(leaf)


@pytest.mark.parametrize("gradient", ["stop", "last_step", "unroll"])
def test_gradient_modes(gradient):
    x, mu, cotangent = random(12, 4), random(3, 4, seed=1), random(12, 4, seed=2)

    def objective(x, mu):
        features = em_attention(x, mu, num_iters=3, gradient=gradient).features
        return jnp.sum(features * cotangent)

    dx, dmu = jax.device_get(run(jax.grad(objective, (0, 1)), x, mu))
    if gradient == "stop":
        assert not np.any(dx)
        assert not np.any(dmu)
        return
    start = mu
    if gradient == "last_step":  # the same as one step from the bases before it
        start = np.asarray(attention(x, mu, num_iters=2).bases)
        assert not np.any(dmu)
    num_iters = 3 if gradient == "unroll" else 1
    step = 1e-5
    for n, c in ((0, 0), (5, 3), (11, 2)):
        shift = np.zeros(x.shape)
        shift[n, c] = step
        options = (num_iters, 1.0, "dot", "l2")
        up, down = (
            np.sum(reference(x + sign * shift, start, *options)[0] * cotangent)
            for sign in (1, -1)
        )
        np.testing.assert_allclose(dx[n, c], (up - down) / (2 * step), rtol=2e-3)


def test_iteration_count_may_be_traced():
    x, mu = random(20, 4), random(3, 4, seed=1)
    num_traces = 0

    @jax.jit
    def traced(num_iters):
        nonlocal num_traces
        num_traces += 1
        return em_attention(x, mu, num_iters=num_iters)

    for num_iters in (1, 2, 5):
        result = traced(num_iters)
        expected = reference(x, mu, num_iters, 1.0, "dot", "l2")
        assert relative_error(result.features, expected[0]) < 1e-5
    assert num_traces == 1


def test_sums_are_float32_for_bfloat16_tokens():
    x = (random(65_536, 4) + 3).astype(jnp.bfloat16)
    mu = random(3, 4, seed=1)
    result = attention(x, mu, num_iters=2, normalization="none")
    x64 = np.asarray(x, np.float64)
    z, expected = None, mu.astype(np.float64)
    for _ in range(2):
        score = x64 @ expected.T
        z = np.exp(score - score.max(-1, keepdims=True))
        z /= z.sum(-1, keepdims=True)
        expected = z.T @ x64 / (1e-6 + z.sum(0)[:, None])
    assert result.features.dtype == jnp.bfloat16
    assert result.bases.dtype == jnp.float32
    assert relative_error(result.bases, expected) < 1e-4
    assert relative_error(np.asarray(result.features, np.float64), z @ expected) < 1e-2


def test_products_are_not_rounded_on_accelerators():
    """Their default would take float32 factors with 8 or 10 bits."""
    text = str(jax.make_jaxpr(em_attention)(random(9, 4), random(3, 4)))
    products = text.count("dot_general[")
    assert products == 5  # E and M in the loop, E, M and R after it
    assert text.count("precision=(Precision.HIGHEST, Precision.HIGHEST)") == products


@pytest.mark.parametrize("offset", [0, 100, 3000])
def test_the_gaussian_kernel_far_from_the_origin(offset):
    """Distances do not depend on where the origin is."""
    x, mu = random(50, 4) + offset, random(3, 4, seed=1) + offset
    options = {"kernel": "gaussian", "normalization": "none"}
    result = attention(x, mu, num_iters=1, **options)
    expected = reference(x, mu, 1, 1.0, "gaussian", "none")
    np.testing.assert_allclose(result.responsibilities, expected[2], atol=1e-4)
    # at 3000 float32 itself keeps three digits behind the point
    found = likelihood(x, mu, kernel="gaussian")
    square = np.square(np.subtract(x[:, None], mu, dtype=np.float64)).sum(-1)
    density = np.exp(-square / 2) / (2 * np.pi) ** 2
    np.testing.assert_allclose(found, np.log(density.mean(-1)).sum(), rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": np.zeros(4, np.float32)}, r"x has shape \(4,\)"),
        ({"x": np.zeros((5, 4), np.int32)}, "int32"),
        ({"bases": np.zeros((3, 5), np.float32)}, r"bases of shape \(3, 5\)"),
        ({"bases": np.zeros((2, 3, 4), np.float32)}, "leading axes"),
        ({"mask": np.ones(6, bool)}, r"mask has shape \(6,\)"),
        ({"num_iters": 0}, "num_iters=0"),
        ({"kernel": "cosine"}, "kernel='cosine'.*gaussian"),
        ({"normalization": "l1"}, "normalization='l1'"),
        ({"gradient": "all"}, "gradient='all'"),
        ({"implementation": "cuda"}, "implementation='cuda'"),
    ],
)
def test_errors_name_the_value(change, words):
    arguments = {"x": random(5, 4), "bases": random(3, 4)} | change
    with pytest.raises(ValueError, match=words):
        em_attention(**arguments)
