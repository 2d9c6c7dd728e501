"""Sums and softmax in half precision are those of float32."""

import jax.numpy as jnp
import numpy as np

from ema_jax.context.common import contract, softmax
from tests.quick import run


def test_sums_are_float32():
    ones = np.ones(257, jnp.bfloat16)  # bfloat16 has no 257
    assert float(run(lambda x: contract("n,n->", x, x), ones)) == 257


def test_softmax_is_float32_and_zero_where_nothing_exists():
    logits = np.log([[1.0, 2.0, 4.0], [1.0, 1.0, 1.0]]).astype(jnp.bfloat16)
    where = np.array([[True, True, False], [False, False, False]])
    weights = np.asarray(run(lambda logits: softmax(logits, -1, where), logits))
    odds = np.exp(logits[0, :2].astype(np.float32))
    assert weights.dtype == jnp.float32
    np.testing.assert_allclose(weights[0, :2], odds / odds.sum(), rtol=1e-6)
    np.testing.assert_array_equal(weights[:, 2], 0)
    np.testing.assert_array_equal(weights[1], 0)
