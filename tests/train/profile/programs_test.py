"""Memory and times of compiled programs."""

import jax
import jax.numpy as jnp
import pytest

from ema_jax.context import NonLocal
from train.errors import UserError
from train.memory import attempt, peak_memory
from train.profile import programs
from train.profile.latency import interleaved, make_sampler
from train.profile.programs import (
    Program,
    find_device,
    forward_program,
    latencies,
    random_arrays,
)

CPU = jax.devices("cpu")[0]
SHAPE = jax.ShapeDtypeStruct((256, 256), jnp.float32)
BYTES = 4 * 256 * 256


def compiled(function, **options) -> Program:
    return Program(jax.jit(function, **options).lower(SHAPE).compile(), (SHAPE,))


def test_peak_memory_of_known_arrays():
    assert peak_memory(compiled(lambda x: x + 1).compiled) == 2 * BYTES
    assert peak_memory(compiled(lambda x: x + 1, donate_argnums=0).compiled) == BYTES
    twice = peak_memory(compiled(lambda x: (x @ x) @ (x @ x).T).compiled)
    assert twice >= 3 * BYTES  # and the product in between


def test_peak_memory_sees_that_non_local_in_chunks_has_no_matrix_of_all_pairs():
    pixels = 33 * 33
    x = jax.ShapeDtypeStruct((1, 33, 33, 8), jnp.float32)

    def peak(chunk):
        block = NonLocal(query_chunk=chunk)
        zeros = jnp.zeros(x.shape)
        shapes = jax.eval_shape(
            lambda: block.init(jax.random.key(0), zeros, train=False)
        )
        return peak_memory(forward_program(block, shapes, x, CPU).compiled)

    assert peak(None) > 4 * pixels**2 > peak(109)


def test_rounds_begin_with_another_program_each_time():
    order = []
    samples = iter(range(9))

    def sampler(name):
        return lambda: order.append(name) or next(samples)

    found = interleaved({name: sampler(name) for name in "abc"}, runs=3)
    assert "".join(order) == "abcbcacab"
    assert found["a"].median == 5  # of 0, 5 and 7
    assert found["b"].median == 3  # of 1, 3 and 8


def test_a_short_call_is_repeated_and_its_mean_taken(monkeypatch):
    clock = iter(range(1000))
    calls = []

    def call():
        calls.append(next(clock))
        return jnp.zeros(())

    monkeypatch.setattr("time.perf_counter", lambda: next(clock) / 500)
    sampler = make_sampler(call)  # a call takes two ticks of 1/500 s
    assert len(calls) == 2
    # 13 calls of 1/250 s are a sample of 0.05 s; the ticks of the calls, and one more.
    assert sampler() == pytest.approx(14 / 500 / 13)
    assert len(calls) == 2 + 13


def test_a_program_that_does_not_fit_is_not_run(monkeypatch):
    both = {
        "small": compiled(lambda x: x + 1),
        "large": compiled(lambda x: (x @ x) @ (x @ x).T),
    }
    assert set(latencies(both, 1, CPU)) == {"small", "large"}
    monkeypatch.setattr(programs, "free_memory", lambda device: 2 * BYTES + 1)
    assert set(latencies(both, 1, CPU)) == {"small"}


def test_only_a_lack_of_memory_is_forgiven():
    def fail(message):
        raise jax.errors.JaxRuntimeError(message)

    assert attempt(fail, "RESOURCE_EXHAUSTED: Out of memory") is None
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        attempt(fail, "INTERNAL: broken")
    assert attempt(lambda x: x + 1, 1) == 2


def test_an_absent_device_is_one_line():
    with pytest.raises(UserError, match=r"--device=tpu: .* there are: cpu") as error:
        find_device("tpu")
    assert "\n" not in str(error.value)
    assert find_device(None).platform == find_device("cpu").platform == "cpu"


def test_random_arrays_are_like_those_of_a_network():
    shapes = {"bn": {"var": jax.ShapeDtypeStruct((3,), jnp.float32)}, "x": SHAPE}
    arrays = random_arrays(shapes, CPU)
    assert (arrays["bn"]["var"] == 1).all()
    assert arrays["x"].std() == pytest.approx(1 / 16, rel=0.05)
