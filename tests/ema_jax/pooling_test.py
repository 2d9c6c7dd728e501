"""Max-pooling of shifted images, against XLA's own windows."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ema_jax.pooling import max_pool


def windows(x):
    return nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))


def both(x, dtype=jnp.float32):
    """Values and derivatives, ours and XLA's; of small integers many are equal."""
    rng = np.random.default_rng(0)
    x = jnp.array(rng.integers(-3, 3, x), dtype)
    gradient = jnp.array(rng.standard_normal(windows(x).shape), dtype)
    tangent = jnp.array(rng.standard_normal(x.shape), dtype)

    def call(pool):
        y, pull = jax.vjp(pool, x)
        return y, *pull(gradient), jax.jvp(pool, (x,), (tangent,))[1]

    return jax.jit(lambda: (call(max_pool), call(windows)))()


@pytest.mark.parametrize("shape", [(2, 9, 7, 3), (1, 8, 12, 2), (1, 1, 2, 1)])
def test_values_and_gradients_are_those_of_windows(shape):
    ours, theirs = both(shape)
    np.testing.assert_array_equal(ours[0], theirs[0])
    np.testing.assert_allclose(ours[1], theirs[1], atol=1e-6)
    np.testing.assert_allclose(ours[2], theirs[2], atol=1e-6)


def test_bfloat16():
    ours, theirs = both((1, 5, 6, 2), jnp.bfloat16)
    np.testing.assert_array_equal(ours[0], theirs[0])
    ours, theirs = (found[1].astype(jnp.float32) for found in (ours, theirs))
    np.testing.assert_allclose(ours, theirs, atol=0.05)


def test_the_gradient_of_the_gradient():
    x = jnp.arange(35.0).reshape(1, 5, 7, 1) % 11

    def slope(pool):
        return jax.grad(lambda x: jnp.sum(pool(x) ** 3))

    ours, theirs = (
        jax.jit(jax.grad(lambda x, p=pool: jnp.sum(slope(p)(x) * x)))(x)
        for pool in (max_pool, windows)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_accelerators_get_their_own():
    x = jax.ShapeDtypeStruct((1, 9, 9, 2), jnp.float32)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(max_pool(x))))
    for platform, own in (("tpu", True), ("cuda", True), ("cpu", False)):
        text = gradient.trace(x).lower(lowering_platforms=(platform,)).as_text()
        assert ("select_and_scatter" in text) == own
