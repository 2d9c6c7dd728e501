"""Parameters that are there: taken as they are, or Flax has the last word."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.errors import ScopeParamShapeError

from ema_jax.parameters import Dense

X = jnp.ones((2, 3))


@pytest.fixture
def initializer():
    """One that notes the shapes for which it is asked."""
    asked = []

    def init(key, shape, dtype):
        asked.append(shape)
        return jax.random.normal(key, shape, dtype)

    init.asked = asked
    return init


@pytest.mark.parametrize(("layer", "asked"), [(nn.Dense, [(3, 4)]), (Dense, [])])
def test_no_initializer_is_asked_where_an_array_fits(layer, asked, initializer):
    dense = layer(4, kernel_init=initializer)
    variables = dense.init(jax.random.key(0), X)
    initializer.asked.clear()
    jax.make_jaxpr(dense.apply)(variables, X)
    assert initializer.asked == asked


def test_another_shape_is_what_flax_says_it_is():
    variables = Dense(4).init(jax.random.key(0), X)
    messages = []
    for layer in (nn.Dense, Dense):
        with pytest.raises(ScopeParamShapeError) as error:
            layer(5, name="dense").apply(variables, X)
        messages.append(str(error.value))
    assert messages[0] == messages[1]


def test_a_parameter_in_a_box_is_taken_out_of_it():
    init = nn.with_partitioning(nn.initializers.lecun_normal(), (None, "model"))
    expected, found = (
        layer(4, kernel_init=init).init_with_output(jax.random.key(0), X)
        for layer in (nn.Dense, Dense)
    )
    assert isinstance(found[1]["params"]["kernel"], nn.Partitioned)
    np.testing.assert_array_equal(found[0], expected[0])
    again = Dense(4, kernel_init=init).apply(found[1], X)
    np.testing.assert_array_equal(again, expected[0])
