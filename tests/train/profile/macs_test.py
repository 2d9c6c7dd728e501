"""Multiply-adds: over ones, the sum of a product's results counts its terms."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental import pallas

from train.profile.macs import contractions, multiply_adds

SQUARE = jnp.ones((5, 5))
STEP = 5**3
"""Multiply-adds of SQUARE @ SQUARE."""


def terms(function, *shapes) -> float:
    """How many products of two numbers are summed, found by running on ones."""
    return np.asarray(function(*map(jnp.ones, shapes)), np.float64).sum()


@pytest.mark.parametrize(
    ("subscripts", "shapes"),
    [
        ("ij,jk->ik", ((2, 3), (3, 5))),
        ("bij,bjk->bik", ((4, 2, 3), (4, 3, 5))),
        ("bhwd,bgwd->bhwg", ((2, 3, 4, 5), (2, 6, 4, 5))),
        ("bnkc,bnk->bnc", ((2, 3, 4, 5), (2, 3, 4))),
        ("ijk,kji->", ((2, 3, 4), (4, 3, 2))),
    ],
)
def test_products(subscripts, shapes):
    def product(x, y):
        return jnp.einsum(subscripts, x, y)

    assert multiply_adds(product, *map(jnp.ones, shapes)) == terms(product, *shapes)


@pytest.mark.parametrize(
    "options",
    [
        {"window_strides": (1, 1)},
        {"window_strides": (2, 3)},
        {"window_strides": (1, 1), "rhs_dilation": (2, 3)},
        {"window_strides": (2, 1), "feature_group_count": 2},
        {"window_strides": (1, 2), "rhs_dilation": (3, 1), "feature_group_count": 4},
    ],
    ids=str,
)
@pytest.mark.parametrize("layout", [("NHWC", "HWIO", "NHWC"), ("NCHW", "OIHW", "NCHW")])
def test_convolutions_count_the_zeros_of_their_padding(options, layout):
    def shape(letters, **sizes):
        return tuple(sizes[letter] for letter in letters)

    def convolve(x, kernel, padding="VALID"):
        return lax.conv_general_dilated(
            x, kernel, padding=padding, dimension_numbers=layout, **options
        )

    def padded(x, kernel):
        return convolve(x, kernel, ((2, 2), (3, 3)))

    groups = options.get("feature_group_count", 1)
    small = shape(layout[0], N=2, H=11, W=9, C=4)
    large = shape(layout[0], N=2, H=15, W=15, C=4)
    kernel = shape(layout[1], H=3, W=2, I=4 // groups, O=8)
    counted = multiply_adds(padded, jnp.ones(small), jnp.ones(kernel))
    assert counted == terms(convolve, large, kernel)


def test_the_gradient_of_a_strided_convolution_costs_twice_the_convolution():
    def loss(x, kernel):
        y = lax.conv_general_dilated(x, kernel, (2, 2), "VALID")
        return jnp.sum(y * y)

    arrays = jnp.ones((1, 4, 9, 9)), jnp.ones((8, 4, 3, 3))
    forward = multiply_adds(loss, *arrays)
    # A transposed convolution touches a few pixels beyond the border: not quite 3.
    both = multiply_adds(jax.grad(loss, (0, 1)), *arrays)
    assert forward == 4 * 4 * 8 * 9 * 4
    assert both == pytest.approx(3 * forward, rel=0.3)


def loop(bound):
    return lambda x: lax.fori_loop(0, bound, lambda _, x: x @ x, x)


def scan(x):
    return lax.scan(lambda x, w: (x @ w, None), x, jnp.ones((7, 5, 5)))[0]


def nested(x):
    return lax.fori_loop(0, 3, lambda _, x: scan(x) @ x, x)


def branches(x):
    return lax.cond(x[0, 0] > 0, lambda x: x, lambda x: x @ x @ x, x)


def counting(x):
    state = lax.while_loop(
        lambda s: s[0] < 9, lambda s: (s[0] + 1, s[1] @ s[1]), (2, x)
    )
    return state[1]


@jax.custom_jvp
def with_jvp(x):
    return x @ x


@jax.custom_vjp
def with_vjp(x):
    return x @ x


with_jvp.defjvps(lambda tangent, *_: tangent)
with_vjp.defvjp(lambda x: (x, None), lambda _, g: (g,))


def kernel(x):
    def body(x_ref, y_ref):
        y_ref[...] = x_ref[...] @ x_ref[...]

    return pallas.pallas_call(
        body, jax.ShapeDtypeStruct(x.shape, x.dtype), grid=(4,), interpret=True
    )(x)


@pytest.mark.parametrize(
    ("function", "steps"),
    [
        (loop(6), 6),
        (loop(jnp.int32(6)), 6),
        (scan, 7),
        (nested, 3 * 8),
        (counting, 7),
        (branches, 2),
        (jax.jit(loop(6)), 6),
        (jax.checkpoint(loop(6)), 6),
        (lambda x: lax.map(jax.checkpoint(lambda y: y @ x), jnp.stack([x, x])), 2),
        (with_jvp, 1),
        (with_vjp, 1),
        (kernel, 4),
        (lambda x: x + jnp.tanh(x) * x, 0),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_loops_branches_and_calls(function, steps):
    assert multiply_adds(function, SQUARE) == steps * STEP


def by_two(x, n):
    return lax.while_loop(lambda s: s[0] < 9, lambda s: (s[0] + 2, s[1] @ s[1]), (0, x))


def to_a_moving_bound(x, n):
    return lax.while_loop(
        lambda s: s[0] < s[1], lambda s: (s[0] + 1, s[1] - 1, s[2] @ s[2]), (0, 9, x)
    )


def until_small(x, n):
    return lax.while_loop(lambda x: jnp.max(x) > 1, lambda x: x @ x, x)


@pytest.mark.parametrize(
    "function",
    [lambda x, n: loop(n)(x), by_two, to_a_moving_bound, until_small],
    ids=lambda function: function.__name__,
)
def test_a_loop_of_unknown_length_is_refused_and_named(function):
    def scoped(x, n):
        with jax.named_scope("outer"):
            return function(x, n)

    with pytest.raises(ValueError, match="a loop in outer ends when its values say so"):
        multiply_adds(scoped, SQUARE, 3)


def test_a_loop_of_unknown_length_without_products_is_none_of_our_business():
    def halve(x):
        return lax.while_loop(lambda x: jnp.max(x) > 1, lambda x: x / 2, x) @ x

    assert multiply_adds(halve, SQUARE) == STEP


def test_products_with_constants_are_told_apart():
    weights = np.arange(15.0).reshape(3, 5)

    def function(x, w):
        twice = 2 * jnp.asarray(weights)
        with jax.named_scope("inner"):
            y = jax.jit(lambda w: w @ x)(twice)
        return y @ w

    program = jax.make_jaxpr(function)(SQUARE, SQUARE)
    found = [(c.path, c.multiply_adds, c.fixed) for c in contractions(program.jaxpr)]
    assert found == [(("inner",), 75, True), ((), 75, False)]


@pytest.fixture
def fused(monkeypatch):
    """Attention by cuDNN, which traces where jax takes this for a machine with it."""
    module = pytest.importorskip("jax._src.cudnn.fused_attention_stablehlo")
    monkeypatch.setattr(module, "check_cudnn_version", lambda: 91500)
    monkeypatch.setattr(module, "check_compute_capability", lambda least: True)
    monkeypatch.setattr(
        module, "is_cuda_compute_capability_equal", lambda exactly: False
    )
    return partial(jax.nn.dot_product_attention, implementation="cudnn")


def half(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.bfloat16)


def test_fused_attention_has_the_products_of_the_written_out_one(fused):
    shapes = half(2, 6, 3, 8), half(2, 10, 3, 8), half(2, 10, 3, 8)
    counted = multiply_adds(lambda *arrays: jax.jit(fused)(*arrays), *shapes)
    assert counted == 2 * 3 * 6 * 10 * (8 + 8)
    assert counted == multiply_adds(jax.nn.dot_product_attention, *shapes)


def test_the_gradient_of_fused_attention_is_refused_and_not_left_out(fused):
    def loss(x):
        with jax.named_scope("outer"):
            return fused(x, x, x).astype(jnp.float32).sum()

    with pytest.raises(ValueError, match=r"attention_bwd.* hides its products"):
        multiply_adds(jax.grad(loss), half(2, 6, 3, 8))
