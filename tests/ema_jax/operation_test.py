"""Operations with two ways to compute them, against JAX's derivatives of one."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ema_jax.convolution import convolve
from ema_jax.operation import Operation
from ema_jax.pooling import max_pool
from tests.quick import run


def by_sums(x, y):
    return jnp.sum(x[:, :, None] * y[None], 1)


PRODUCT = Operation(
    "product",
    by_sums,
    jnp.matmul,
    {
        0: lambda gradient, y: PRODUCT(gradient, y.T),
        1: lambda gradient, x: PRODUCT(x.T, gradient),
    },
)


def matrices(*leading):
    rng = np.random.default_rng(0)
    return [rng.standard_normal((*leading, *shape)) for shape in ((2, 3), (3, 4))]


def lowered(function, *operands, platform):
    program = jax.jit(function).trace(*operands)
    return program.lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize(("platform", "products"), [("cpu", 0), ("tpu", 3)])
def test_each_platform_has_its_own(platform, products):
    def slopes(x, y):
        return jax.grad(lambda x, y: jnp.sum(PRODUCT(x, y) ** 2), (0, 1))(x, y)

    text = lowered(slopes, *matrices(), platform=platform)
    assert text.count("stablehlo.dot_general") == products
    assert "stablehlo.case" not in text


def test_where_it_is_differentiated_it_is_another():
    product = Operation(
        "product", by_sums, jnp.matmul, PRODUCT.transposes, differentiated=jnp.matmul
    )
    x, y = matrices()

    def slopes(x, y):
        return jax.grad(lambda *both: jnp.sum(product(*both) ** 2), (0, 1))(x, y)

    def pulled(x, y):
        [found] = jax.linear_transpose(lambda x: product(x, y), x)(by_sums(x, y))
        return found

    for call, products in ((product, 0), (pulled, 0), (slopes, 1)):
        text = lowered(call, x, y, platform="cpu")
        assert text.count("stablehlo.dot_general") == products
    np.testing.assert_allclose(slopes(x, y)[1], 2 * x.T @ x @ y, rtol=1e-5)
    np.testing.assert_allclose(pulled(x, y), x @ y @ y.T, rtol=1e-5)


def test_derivatives_in_both_modes_and_of_second_order():
    check_grads(jax.jit(PRODUCT), matrices(), 2, ["fwd", "rev"], 1e-2, 1e-2, 1e-2)


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0), (2, 1)])
def test_over_a_batch(axes):
    """Of either operand, or of both; with what the other one gets from all of them."""
    x, y = (
        np.moveaxis(several, 0, axis) if axis is not None else single
        for several, single, axis in zip(matrices(5), matrices(), axes, strict=True)
    )

    def call(product):
        def loss(x, y):
            return jnp.sum(jax.vmap(product, axes)(x, y) ** 3)

        return jax.value_and_grad(loss, (0, 1))(x, y)

    ours, theirs = run(lambda: (call(PRODUCT), call(jnp.matmul)))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5), ours, theirs)


def test_over_a_batch_of_batches():
    """x lies in both, y in the inner one."""
    x, y = matrices(2, 5)[0], matrices(5)[1]

    def call(product):
        def slopes(x, y):
            return jax.grad(lambda *both: jnp.sum(product(*both) ** 3), (0, 1))(x, y)

        return jax.vmap(jax.vmap(slopes), (0, None))(x, y)

    ours, theirs = run(lambda: (call(PRODUCT), call(jnp.matmul)))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5), ours, theirs)


def test_without_jit():
    x, y = matrices()
    with jax.disable_jit():
        np.testing.assert_allclose(PRODUCT(x, y), x @ y, atol=1e-6)


def test_over_devices_the_gradient_of_a_program_has_no_branches():
    devices = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split, shared = (jax.NamedSharding(devices, jax.P(name)) for name in ("data", None))
    x = jax.ShapeDtypeStruct((2, 5, 4, 2), jnp.float32, sharding=split)
    kernel = jax.ShapeDtypeStruct((1, 1, 2, 3), jnp.float32, sharding=shared)

    @jax.jit
    def loss(kernel, x):
        return jnp.sum(max_pool(convolve(x, kernel)) ** 2)

    text = jax.jit(jax.grad(loss)).lower(kernel, x).compile().as_text()
    assert text.count(" all-reduce(") == 1
    assert " conditional(" not in text
