"""Random variables: one trace for equal models, and none that is stale."""

from collections.abc import Callable

import flax.linen as nn
import jax
import numpy as np
import pytest

from ema_jax.segmenter import init_variables, variable_shapes


class Counted(nn.Module):
    """A network that tells when it is traced."""

    tell: Callable[[str], None]
    width: object = 2

    @nn.compact
    def __call__(self, images, *, train):
        self.tell("traced")
        return nn.Dense(int(self.width))(images)


@pytest.fixture
def traces():
    return []


@pytest.fixture
def tell(traces):
    return lambda word: traces.append(word)


def kernel(tell):
    found = jax.jit(lambda: init_variables(Counted(tell), seed=3))()
    return np.asarray(found["params"]["Dense_0"]["kernel"])


def test_equal_models_are_traced_once(traces, tell):
    np.testing.assert_array_equal(kernel(tell), kernel(tell))
    assert len(traces) == 1
    variable_shapes(Counted(tell, width=4))
    assert len(traces) == 2


def test_other_random_numbers_are_traced_anew(traces, tell):
    first = kernel(tell)
    with jax.default_prng_impl("rbg"):
        assert not np.array_equal(kernel(tell), first)
    assert len(traces) == 2


def test_a_model_that_cannot_be_hashed(tell):
    shapes = variable_shapes(Counted(tell, width=np.array(4)))
    assert shapes["params"]["Dense_0"]["kernel"].shape == (3, 4)
