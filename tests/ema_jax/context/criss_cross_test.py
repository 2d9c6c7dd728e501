"""Who sees whom in criss-cross attention."""

import jax
import numpy as np

from ema_jax.context import CrissCrossAttention
from ema_jax.context.criss_cross import criss_cross_attention
from tests.golden import context_cases, rebuild_context
from tests.golden.context_cases import CASES


def test_the_own_pixel_counts_once():
    """With equal logits each pixel gets the plain mean of its H + W - 1 pixels."""
    height, width = 3, 4
    value = np.arange(12.0, dtype=np.float32).reshape(1, height, width, 1)
    flat = np.zeros_like(value)
    cross = (
        value.sum(axis=1, keepdims=True) + value.sum(axis=2, keepdims=True) - value
    ) / (height + width - 1)
    y = jax.jit(criss_cross_attention)(flat, flat, value)
    np.testing.assert_allclose(y, cross, rtol=1e-6)


def test_two_passes_see_every_pixel():
    variables = rebuild_context.variables(CASES["criss_cross"])
    x = context_cases.features("context.input", context_cases.SIZE)

    @jax.jit
    def influence(x):
        """Of every pixel on one, after one pass and after two."""

        def pixel(x, recurrence):
            unit = rebuild_context.module("criss_cross").clone(recurrence=recurrence)
            return unit.apply(variables, x, train=False)[0, 1, 2].sum()

        return jax.grad(pixel)(x, 1), jax.grad(pixel)(x, 2)

    height, width = context_cases.SIZE
    once, twice = (np.any(y, axis=-1).sum() for y in jax.device_get(influence(x)))
    assert once == height + width - 1
    assert twice == height * width


def test_starts_at_the_identity():
    x = context_cases.features("context.input", context_cases.SIZE)
    init = jax.jit(lambda key: CrissCrossAttention().init(key, x, train=True))
    params = init(jax.random.key(0))["params"]
    assert params["gamma"] == 0
    assert params["query"]["kernel"].shape == (16, 2)
