"""Arguments that cannot be meant are one ValueError with the value and the mend."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ema_jax import EMAU, em_attention, em_trace, mixture_log_likelihood

X, BASES = jnp.ones((2, 5, 4)), jnp.ones((3, 4))


@pytest.mark.parametrize(
    "function",
    [em_attention, em_trace, mixture_log_likelihood],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"x": X[0, 0]}, r"x has shape \(4,\); give tokens as"),
        ({"x": X.astype(int)}, "x has type int32; convert"),
        ({"bases": BASES[:, :2]}, r"bases of shape \(3, 2\) do not fit"),
        ({"bases": BASES[:0]}, r"bases of shape \(0, 4\) do not fit"),
        ({"bases": jnp.ones((7, 3, 4))}, "have other leading axes"),
        ({"mask": jnp.ones(5, bool)}, r"mask has shape \(5,\); x of shape"),
        ({"kernel": "cosine"}, "kernel='cosine' is unknown"),
        ({"temperature": jnp.ones(5)}, r"temperature has shape \(5,\); give one"),
    ],
)
def test_of_every_function(function, arguments, words):
    with pytest.raises(ValueError, match=words) as error:
        function(**{"x": X, "bases": BASES} | arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("function", [em_attention, em_trace])
@pytest.mark.parametrize("value", [0, -1, 3.0, "3", None, True, np.int64(0)])
def test_iterations_that_are_no_count(function, value):
    with pytest.raises(ValueError, match=r"num_iters=.*; give an integer of at least"):
        function(X, BASES, num_iters=value)


def test_options_of_the_trace():
    for option in ("normalization", "assignment"):
        with pytest.raises(ValueError, match=f"{option}='l1' is unknown"):
            em_trace(X, BASES, **{option: "l1"})


def test_a_traced_count_of_unrolled_iterations():
    unroll = jax.jit(partial(em_attention, gradient="unroll"))
    with pytest.raises(ValueError, match="num_iters is traced, and gradient='unroll'"):
        unroll(X, BASES, num_iters=3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_bases": 2.5}, "num_bases=2.5; give an integer"),
        ({"num_bases": "4"}, "num_bases='4'; give an integer"),
        ({"num_heads": 0}, "num_heads=0; give an integer"),
        ({"bases_decay": 9.0}, "bases_decay=9.0; give a number from 0 to 1"),
        ({"bn_decay": -1.0}, "bn_decay=-1.0; give a number from 0 to 1"),
        ({"eval_iters": 0}, "eval_iters=0; give an integer"),
        (
            {"learn_temperature": True, "gradient": "unroll", "temperature": 0.0},
            r"temperature=0.0 has no logarithm to learn; .* above 0",
        ),
    ],
)
def test_attributes_of_the_unit(options, words):
    with pytest.raises(ValueError, match=words):
        EMAU(**options).init(jax.random.key(0), X, train=False)


def test_bases_of_another_unit():
    """Flax compares the shapes of parameters, but not those of other variables."""
    variables = EMAU(num_bases=3).init(jax.random.key(0), X, train=False)
    with pytest.raises(ValueError, match=r"bases have shape \(3, 4\); num_bases=7"):
        EMAU(num_bases=7).apply(variables, X, train=False)
    for shape in ((5, 4), (3, 3), (4,), (5, 3, 4)):
        with pytest.raises(ValueError, match=r"the bases have shape \("):
            EMAU(num_bases=3, num_heads=2).apply(
                variables, X, train=False, initial_bases=jnp.ones(shape)
            )


def test_a_batch_without_images():
    variables = EMAU(num_bases=3).init(jax.random.key(0), X, train=False)
    assert EMAU(num_bases=3).apply(variables, X[:0], train=False).shape == (0, 5, 4)
