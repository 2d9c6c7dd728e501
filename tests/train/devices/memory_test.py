"""A program that does not fit is refused before it runs."""

import jax
import jax.numpy as jnp
import pytest

from train.devices import memory
from train.devices.memory import GIB, compile_to_fit, free_memory
from train.user.errors import UserError

BYTES = 4 * 256 * 256


def compiler(x):
    """Makes a program with an argument, a result and something between."""
    return jax.jit(lambda x: (x @ x) @ (x @ x).T).lower(x).compile()


@pytest.fixture
def x():
    return jnp.ones((256, 256))


def fit(x, devices):
    return compile_to_fit(compiler, x, devices=devices, advice="lower it")


def test_a_program_that_fits_is_returned(x):
    assert fit(x, jax.devices()[:1])(x)[0, 0] == 256**3


@pytest.mark.parametrize(("count", "fits"), [(1, True), (8, False)])
def test_the_devices_of_a_cpu_share_its_memory(x, monkeypatch, count, fits):
    """It needs a result and what is between; the argument is there already."""
    monkeypatch.setattr(memory, "free_memory", lambda device: 8.0 * BYTES)
    if fits:
        fit(x, jax.devices()[:count])
        return
    with pytest.raises(UserError) as error:
        fit(x, jax.devices()[:count])
    message = str(error.value)
    assert message.startswith("the training step needs 0.000")
    assert message.endswith("lower it")
    assert "\n" not in message


def test_what_the_compiler_cannot_place(x):
    def exhausted(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 3 too much\nmore")

    with pytest.raises(UserError, match=r"does not fit .*; lower it$"):
        compile_to_fit(exhausted, x, devices=jax.devices(), advice="lower it")


def test_other_failures_keep_their_traceback(x):
    def broken(*_):
        raise jax.errors.JaxRuntimeError("INTERNAL: a defect")

    with pytest.raises(jax.errors.JaxRuntimeError, match="a defect"):
        compile_to_fit(broken, x, devices=jax.devices(), advice="")


def test_this_machine_has_memory():
    assert 2**20 < free_memory(jax.devices()[0]) < 2**20 * GIB
