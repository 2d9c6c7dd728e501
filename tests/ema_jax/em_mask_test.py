"""Absent tokens, whatever the options: as if they had never been there."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ema_jax import em_attention
from tests.quick import run
from tests.versions import enable_x64

OPTIONS = [
    {"kernel": kernel, "normalization": normalization, "assignment": assignment}
    for kernel in ("dot", "gaussian")
    for normalization in ("l2", "layer", "none")
    for assignment in ("soft", "hard")
]
TOKENS, CHANNELS, BASES = 9, 4, 3

attend = jax.jit(
    partial(em_attention, temperature=1.5),
    static_argnames=("kernel", "normalization", "assignment", "gradient"),
)


def reference(x, mu, num_iters, kernel, normalization, assignment):
    """One image of SPEC's formulas in float64 numpy, hard assignment included."""
    for _ in range(num_iters):
        score = 1.5 * (x @ mu.T)
        if kernel == "gaussian":
            score = -1.5 / 2 * np.square(x[:, None] - mu).sum(-1)
        z = np.exp(score - score.max(-1, keepdims=True))
        z /= z.sum(-1, keepdims=True)
        if assignment == "hard":
            # Bases without tokens are the same: rounding would choose between them.
            first, second = np.sort(score)[:, ::-1].T[:2]
            assume(np.all(first - second > 1e-9))
            z = np.eye(len(mu))[score.argmax(-1)]
        mu = z.T @ x / (1e-6 + z.sum(0)[:, None])
        if normalization == "l2":
            mu = mu / (1e-6 + np.linalg.norm(mu, axis=-1, keepdims=True))
        elif normalization == "layer":
            mu = mu - mu.mean(-1, keepdims=True)
            mu = mu / (1e-6 + mu.std(-1, keepdims=True))
    return z @ mu, mu, z


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(o.values()))
def test_masked_equals_unpadded(options):
    """Random masks, leading axes and iterations; what is absent holds NaN."""

    @settings(max_examples=25, deadline=None)
    @given(
        seed=st.integers(0, 2**31),
        present=st.lists(st.booleans(), min_size=2 * TOKENS, max_size=2 * TOKENS),
        num_iters=st.integers(1, 5),
        shared=st.booleans(),
    )
    def check(seed, present, num_iters, shared):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((2, TOKENS, CHANNELS))
        mu = rng.standard_normal((2, BASES, CHANNELS))
        if shared:
            mu[1] = mu[0]
        mask = np.reshape(present, (2, TOKENS))
        padded = np.where(mask[..., None], x, np.nan)
        result = jax.device_get(
            attend(padded, mu, num_iters=num_iters, mask=mask, **options)
        )
        for image in range(2):
            here = mask[image]
            wanted = reference(x[image, here], mu[image], num_iters, *options.values())
            got = (
                result.features[image, here],
                result.bases[image],
                result.responsibilities[image, here],
            )
            for actual, expected in zip(got, wanted, strict=True):
                np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-6)
            assert not np.any(result.features[image, ~here])
            assert not np.any(result.responsibilities[image, ~here])

    with enable_x64():
        check()


@settings(max_examples=15, deadline=None)
@given(
    dtype=st.sampled_from(["bfloat16", "float16", "float32"]),
    seed=st.integers(0, 2**31),
    num_iters=st.integers(1, 5),
)
def test_types_of_input_and_output(dtype, seed, num_iters):
    """The result in the type of the input, the sums in float32."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, TOKENS, CHANNELS)).astype(jnp.dtype(dtype))
    mu = rng.standard_normal((2, BASES, CHANNELS)).astype(np.float32)
    result = jax.device_get(
        attend(x, mu, num_iters=num_iters, mask=np.ones((2, TOKENS), bool))
    )
    assert result.features.dtype == x.dtype
    assert result.bases.dtype == result.responsibilities.dtype == jnp.float32
    for image in range(2):
        tokens = x[image].astype(np.float64)
        features, bases, _ = reference(
            tokens, mu[image], num_iters, "dot", "l2", "soft"
        )
        np.testing.assert_allclose(result.bases[image], bases, rtol=1e-3, atol=1e-3)
        scale = np.abs(features).max()
        error = np.abs(result.features[image].astype(np.float64) - features)
        assert error.max() < 1e-2 * scale


@pytest.mark.parametrize("gradient", ["stop", "last_step", "unroll", "implicit"])
def test_gradients_of_masked_tokens(gradient):
    """Those of the images alone; an image without tokens gives zero, never NaN."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, TOKENS, CHANNELS)).astype(np.float32)
    mu = rng.standard_normal((BASES, CHANNELS)).astype(np.float32)
    weights = rng.standard_normal(x.shape).astype(np.float32)
    mask = np.arange(TOKENS) < np.array([[TOKENS], [4], [0]])

    def objective(x, mu, weights, mask):
        attended = em_attention(x, mu, num_iters=3, gradient=gradient, mask=mask)
        return jnp.sum(attended.features * weights)

    grad = jax.jit(jax.grad(objective, (0, 1)))
    dx, dmu = jax.device_get(grad(x, mu, weights, mask))
    assert np.isfinite(dx).all()
    assert np.isfinite(dmu).all()
    assert not np.any(dx[~mask])
    one = slice(1, 2), slice(4)
    alone, of_bases = jax.device_get(grad(x[one], mu, weights[one], mask[one]))
    np.testing.assert_allclose(dx[1, :4], alone[0], rtol=1e-4, atol=1e-5)
    assert np.any(dx[1]) == (gradient != "stop")
    assert np.any(of_bases) == (gradient == "unroll")


def test_hard_assignment_has_the_gradient_of_soft():
    """Straight through: the value is one-hot, the slope that of the softmax."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((TOKENS, CHANNELS)).astype(np.float32)
    mu = rng.standard_normal((BASES, CHANNELS)).astype(np.float32)
    weights = rng.standard_normal((TOKENS, BASES)).astype(np.float32)

    def objective(mu, assignment):
        attended = em_attention(
            x, mu, num_iters=1, gradient="unroll", assignment=assignment
        )
        return jnp.sum(attended.responsibilities * weights), attended

    grad = jax.jit(jax.grad(objective, has_aux=True), static_argnums=1)
    hard, attended = grad(mu, "hard")
    soft, _ = grad(mu, "soft")
    found = np.asarray(attended.responsibilities)
    np.testing.assert_allclose(hard, soft, atol=1e-6)
    assert set(np.unique(found)) == {0, 1}


@pytest.mark.parametrize("normalization", ["l2", "layer"])
def test_a_basis_that_no_token_chose_has_a_finite_gradient(normalization):
    """Its norm is zero, where the square root has no slope."""
    rng = np.random.default_rng(3)
    x = (2 + rng.random((TOKENS, CHANNELS))).astype(np.float32)
    mu = np.stack([np.ones(CHANNELS), -np.ones(CHANNELS)]).astype(np.float32)
    weights = rng.standard_normal(x.shape)

    def objective(x):
        attended = em_attention(
            x,
            mu,
            num_iters=1,
            normalization=normalization,
            gradient="unroll",
            assignment="hard",
        )
        return jnp.sum(attended.features * weights), attended.bases

    dx, bases = jax.device_get(run(jax.grad(objective, has_aux=True), x))
    assert not np.any(bases[1])
    assert np.isfinite(dx).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_input_stays_in_its_image(bad):
    x = np.random.default_rng(2).standard_normal((2, TOKENS, CHANNELS))
    x = x.astype(np.float32)
    mu = x[0, :BASES]
    clean = jax.device_get(attend(x, mu))
    x[1, 3, 2] = bad
    dirty = jax.device_get(attend(x, mu))
    np.testing.assert_array_equal(dirty.features[0], clean.features[0])
    assert not np.isfinite(dirty.features[1]).all()
