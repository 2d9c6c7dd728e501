"""Sums and softmax in half precision are those of float32."""

import jax.numpy as jnp
import numpy as np

from ema_jax.context.common import contract, softmax


def test_sums_are_float32():
    ones = jnp.ones(257, jnp.bfloat16)  # bfloat16 has no 257
    assert contract("n,n->", ones, ones) == 257


def test_softmax_is_float32_and_zero_where_nothing_exists():
    logits = jnp.log(jnp.array([[1.0, 2.0, 4.0], [1.0, 1.0, 1.0]])).astype(jnp.bfloat16)
    where = np.array([[True, True, False], [False, False, False]])
    weights = softmax(logits, -1, where)
    odds = np.exp(np.asarray(logits[0, :2], np.float32))
    assert weights.dtype == jnp.float32
    np.testing.assert_allclose(weights[0, :2], odds / odds.sum(), rtol=1e-6)
    np.testing.assert_array_equal(weights[:, 2], 0)
    np.testing.assert_array_equal(weights[1], 0)
