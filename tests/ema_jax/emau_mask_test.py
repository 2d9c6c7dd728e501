"""Absent tokens and broken images leave no trace in the unit, whatever its options."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ema_jax import EMAU
from tests.versions import enable_x64

TOKENS, CHANNELS = 6, 4
LENGTHS = (0, 1, 4, 6)
"""Tokens of an image: each number compiles."""

OPTIONS = {
    "default": {},
    "heads": {"num_heads": 2},
    "hard": {"assignment": "hard", "num_iters": 1},
    "gaussian": {"kernel": "gaussian", "normalization": "none"},
    "layer": {"normalization": "layer", "temperature": 3.0},
    "learned": {"learn_temperature": True, "gradient": "unroll"},
    "trained bases": {"bases_update": "gradient", "gradient": "unroll"},
    "implicit": {"gradient": "implicit", "eval_iters": 5},
    "careful": {"skip_non_finite": True, "gradient": "last_step"},
}
SPATIAL = {1: (6,), 2: (3, 2), 3: (1, 2, 3)}


@cache
def variables():
    """Those of every unit here, whether it trains its bases and temperature or not."""
    x = np.zeros((1, TOKENS, CHANNELS), np.float32)
    made = EMAU(num_bases=3).init(jax.random.key(1), x, train=False)
    params, stats = jax.device_get((made["params"], made["batch_stats"]))
    trained = {"bases": stats["bases"], "log_temperature": np.float32(0.3)}
    return {"params": params | trained, "batch_stats": stats}


@cache
def network(name):
    """A unit compiled for evaluation."""
    unit = EMAU(num_bases=3, dtype=jnp.float64, **OPTIONS[name])
    weights = variables()
    return jax.jit(lambda x, mask=None: unit.apply(weights, x, mask, train=False))


@pytest.mark.parametrize("name", OPTIONS)
def test_masked_equals_the_images_one_by_one(name):
    @settings(max_examples=15, deadline=None)
    @given(
        seed=st.integers(0, 2**31),
        lengths=st.tuples(*[st.sampled_from(LENGTHS)] * 3),
        kind=st.sampled_from(["bool", "uint8", "float32"]),
        absent=st.sampled_from([np.nan, np.inf, 1e30]),
    )
    def check(seed, lengths, kind, absent):
        rng = np.random.default_rng(seed)
        apply = network(name)
        x = rng.standard_normal((3, TOKENS, CHANNELS))
        mask = np.zeros((3, TOKENS), bool)
        for row, length in enumerate(lengths):
            mask[row, rng.permutation(TOKENS)[:length]] = True
        spatial = SPATIAL[1 + list(OPTIONS).index(name) % 3]
        padded = np.where(mask[..., None], x, absent).reshape(3, *spatial, CHANNELS)
        given_mask = (255 if kind == "uint8" else 1) * mask.astype(kind)
        y = np.asarray(apply(padded, given_mask.reshape(3, *spatial)))
        y = y.reshape(x.shape)
        for row in range(3):
            assert not np.any(y[row, ~mask[row]])
            if mask[row].any():
                [alone] = np.asarray(apply(x[row : row + 1, mask[row]]))
                np.testing.assert_allclose(y[row, mask[row]], alone, atol=1e-6)

    with enable_x64():
        check()


@partial(jax.jit, static_argnums=0)
def training(unit, variables, x, mask, weights):
    """Gradients of the parameters and the input, and what is stored."""

    def objective(params, x):
        y, updates = unit.apply(
            variables | {"params": params},
            x,
            mask,
            train=True,
            mutable=["batch_stats"],
        )
        seen = jnp.where(weights[..., None] != 0, y, 0)
        return jnp.sum(seen * weights[..., None]), updates

    return jax.grad(objective, (0, 1), has_aux=True)(variables["params"], x)


@pytest.mark.parametrize("gradient", ["stop", "last_step", "unroll", "implicit"])
def test_what_absent_tokens_hold_reaches_no_gradient(gradient):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, TOKENS, CHANNELS)).astype(np.float32)
    mask = np.arange(TOKENS) < np.array([[TOKENS], [4], [0]])
    weights = np.where(mask, rng.standard_normal(mask.shape), 0)
    unit = EMAU(num_bases=3, gradient=gradient)
    clean, dirty = (
        jax.device_get(training(unit, variables(), filled, mask, weights))
        for filled in (np.where(mask[..., None], x, fill) for fill in (0.0, np.nan))
    )
    jax.tree.map(np.testing.assert_array_equal, dirty, clean)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(clean))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("gradient", ["stop", "unroll"])
def test_a_broken_image_that_is_skipped_leaves_no_trace(bad, gradient):
    """Its output is NaN; a loss without it is that of the others alone."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, TOKENS, CHANNELS)).astype(np.float32)
    weights = rng.standard_normal((3, TOKENS))
    weights[1] = 0
    unit = EMAU(num_bases=3, gradient=gradient, skip_non_finite=True)
    good = np.array([0, 2])
    (wanted, dx), stored = training(unit, variables(), x[good], None, weights[good])
    x[1, 2, 3] = bad
    (found, dx_all), found_stored = jax.device_get(
        training(unit, variables(), x, None, weights)
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        (found, dx_all[good], found_stored),
        (wanted, dx, stored),
    )
    assert not np.any(dx_all[1])
    evaluated = np.asarray(unit.apply(variables(), x, train=False))
    assert np.isnan(evaluated[1]).all()
