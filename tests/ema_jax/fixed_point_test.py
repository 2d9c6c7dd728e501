"""The implicit gradient where EM has converged, and where its series has no sum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ema_jax import em_attention, em_trace
from ema_jax.fixed_point import fixed_point
from tests.quick import run
from tests.versions import enable_x64

PROBLEMS, TOKENS, CHANNELS, BASES = 24, 40, 5, 4


@pytest.fixture(autouse=True)
def float64():
    with enable_x64():
        yield


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def problems(seed):
    """Unit tokens about a few centres, and bases that start anywhere."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((PROBLEMS, 1 + seed % 7, CHANNELS))
    which = rng.integers(centres.shape[1], size=(PROBLEMS, TOKENS))
    x = np.take_along_axis(centres, which[..., None], 1)
    x = unit(x + 0.5 * rng.standard_normal(x.shape))
    bases = unit(rng.standard_normal((PROBLEMS, BASES, CHANNELS)))
    return x, bases, rng.standard_normal(bases.shape)


def gradient(mode):
    """Of the bases after 200 iterations, which come with it."""

    def objective(x, bases, cotangent, temperature):
        options = {"num_iters": 200, "temperature": temperature, "gradient": mode}
        found = em_attention(x, bases, **options).bases
        return jnp.sum(found * cotangent), found

    return jax.jit(jax.grad(objective, has_aux=True))


def test_equals_unroll_wherever_em_converged():
    """On the way to their sum the terms of the series may grow."""
    implicit, unroll = gradient("implicit"), gradient("unroll")
    one_more = jax.jit(lambda x, mu, t: em_trace(x, mu, num_iters=1, temperature=t))
    seen = 0
    for seed in range(8):
        for temperature in (20.0, 50.0):
            x, bases, cotangent = problems(seed)
            arguments = x, bases, cotangent, temperature
            expected, found = jax.device_get(unroll(*arguments))
            actual = np.asarray(implicit(*arguments)[0])
            largest = np.abs(expected).max((1, 2))
            [change] = np.asarray(one_more(x, found, temperature).change)
            converged = change < 1e-9
            converged &= largest < 1e6
            error = np.abs(actual - expected).max((1, 2)) / largest
            assert error[converged].max() < 1e-3
            seen += converged.sum()
    assert seen > 150


@pytest.mark.parametrize(("slope", "wanted"), [(0.5, 2.0), (1.01, 1.0), (3.0, 1.0)])
def test_a_series_without_a_sum_leaves_the_last_step(slope, wanted):
    """`x = slope·x + a` has dx/da = 1/(1-slope); from 1 on that is no limit."""

    def objective(a):
        def update(x, a):
            return slope * x + a

        return fixed_point(update, jnp.zeros((1, 1)), 3, a)[0, 0]

    np.testing.assert_allclose(run(jax.grad(objective), 1.0), wanted, rtol=1e-6)
