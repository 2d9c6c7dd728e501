"""The factorisation against its theory, and where its bases come from."""

from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ema_jax.context.hamburger import BasesUpdate, bases_init, nmf
from tests.golden import context_cases, rebuild_context
from tests.golden.context_cases import CASES
from tests.golden.rebuild import relative_error
from tests.quick import run

RNG = np.random.default_rng(0)


def first_bases(seed, *shape):
    return run(lambda key: bases_init(key, shape, jnp.float32), jax.random.key(seed))


def test_updates_never_raise_the_error():
    """Lee and Seung: ‖X - C D‖ falls with every update."""
    x = np.abs(RNG.standard_normal((1, 40, 12))).astype(np.float32)
    bases = first_bases(0, 5, 12)
    error = jax.jit(
        lambda num_iters: jnp.linalg.norm(
            nmf(x, bases, num_iters=num_iters).features - x
        )
    )
    errors = np.array([error(num_iters) for num_iters in (1, 2, 3, 5, 10, 30, 100)])
    assert np.all(np.diff(errors) < 0)
    assert errors[-1] < 0.8 * errors[0]


def test_finds_the_factors_of_a_matrix_of_low_rank():
    factors = [np.abs(RNG.standard_normal(shape)) for shape in ((1, 60, 3), (1, 3, 8))]
    x = (factors[0] @ factors[1]).astype(np.float32)
    bases = first_bases(1, 3, 8)
    found = jax.device_get(run(lambda x: nmf(x, bases, num_iters=1000), x))
    np.testing.assert_allclose(found.features, x, atol=0.02 * x.max())
    assert np.all(found.bases >= 0)
    assert np.all(found.coefficients >= 0)


def reference(x, bases, num_iters):
    """Lee and Seung's updates of one image, in float64."""
    x, d = x.astype(np.float64), bases.astype(np.float64)
    c = np.exp(x @ d.T)
    c /= c.sum(axis=1, keepdims=True)
    for _ in range(num_iters):
        c *= (x @ d.T) / (1e-6 + c @ d @ d.T)
        d = d * (c.T @ x) / (1e-6 + c.T @ c @ d)
    c *= (x @ d.T) / (1e-6 + c @ d @ d.T)
    return c @ d, d, c


@pytest.mark.parametrize("num_bases", [4, 16])
def test_equals_the_float64_loop_from_bases_that_a_batch_shares(num_bases):
    """Compiled whole, where a compiler may see that the bases are the same."""
    x = np.abs(RNG.standard_normal((4, 81, 64))).astype(np.float32)
    bases = np.asarray(first_bases(2, num_bases, 64))
    found = jax.device_get(run(lambda x, mu: nmf(x, mu, num_iters=1), x, bases))
    for image in range(2):
        expected = reference(x[image], bases, 1)
        for actual, wanted in zip(found, expected, strict=True):
            assert relative_error(actual[image], wanted) < 1e-5


unit = rebuild_context.module("hamburger").clone(bases_update="random")
variables = rebuild_context.variables(CASES["hamburger"])
features = context_cases.features("context.input", context_cases.SIZE)


def test_random_bases_differ_by_call_and_image():
    twice = np.concatenate([features, features])

    @jax.jit
    def call(key):
        rngs, mutable = {"dropout": key}, ["batch_stats"]
        trained = unit.apply(variables, twice, train=True, mutable=mutable, rngs=rngs)
        return *trained, unit.apply(variables, twice, train=False)

    first, second, third = (call(jax.random.key(seed)) for seed in (0, 0, 1))
    (y, updates, evaluated), (again, *_), (other, *_) = jax.device_get(
        (first, second, third)
    )
    np.testing.assert_array_equal(y, again)
    assert np.abs(y - other).max() > 1e-3
    assert np.abs(y[0] - y[1]).max() > 1e-3
    # Evaluation asks for no key; the stored bases, which it starts from, stay.
    np.testing.assert_allclose(evaluated[0], evaluated[1], atol=1e-5)
    stored = variables["batch_stats"]["bases"]
    np.testing.assert_array_equal(updates["batch_stats"]["bases"], stored)


def test_initialisation_needs_one_key_and_moves_nothing():
    """Bases start non-negative and of unit norm, whatever the options."""

    @jax.jit
    def init(key):
        return [
            unit.clone(bases_update=name).init(key, features, train=name != "none")
            for name in get_args(BasesUpdate)
        ]

    first, *others = init(jax.random.key(0))
    for other in others:
        jax.tree.map(np.testing.assert_array_equal, first, other)
    bases = first["batch_stats"]["bases"]
    assert bases.shape == (context_cases.SLOTS, 12)
    np.testing.assert_allclose(np.linalg.norm(bases, axis=-1), 1, atol=1e-5)
    assert np.all(bases >= 0)


def test_no_token_anywhere_leaves_the_bases():
    burger = unit.clone(bases_update="moving_average")
    mask = np.zeros(features.shape[:-1], bool)
    _, updates = jax.jit(
        lambda x: burger.apply(
            variables, x, train=True, mask=mask, mutable=["batch_stats"]
        )
    )(features)
    stored = variables["batch_stats"]["bases"]
    np.testing.assert_array_equal(updates["batch_stats"]["bases"], stored)
