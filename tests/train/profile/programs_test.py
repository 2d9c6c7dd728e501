"""Memory and times of compiled programs."""

import jax
import jax.numpy as jnp
import pytest

from ema_jax.context import NonLocal
from train.devices.memory import attempt, peak_memory
from train.profile import programs
from train.profile.modules import context_modules, inputs_of
from train.profile.programs import (
    DOES_NOT_FIT,
    Settings,
    forward_program,
    interleaved,
    latency_cells,
    make_sampler,
    quartiles,
    random_arrays,
)

CPU = jax.devices("cpu")[0]
SHAPE = jax.ShapeDtypeStruct((256, 256), jnp.float32)
BYTES = 4 * 256 * 256


def compiled(function, **options):
    return jax.jit(function, **options).lower(SHAPE).compile()


def fitting(programs, runs):
    """Names of the programs of which there are times."""
    cells = latency_cells(programs, Settings(CPU, runs=runs))
    assert cells.keys() == programs.keys()
    return {k for k, v in cells.items() if set(v.values()) != {DOES_NOT_FIT}}


def test_peak_memory_of_known_arrays():
    assert peak_memory(compiled(lambda x: x + 1)) == 2 * BYTES
    assert peak_memory(compiled(lambda x: x + 1, donate_argnums=0)) == BYTES
    twice = peak_memory(compiled(lambda x: (x @ x) @ (x @ x).T))
    assert twice >= 3 * BYTES  # and the product in between


def test_peak_memory_sees_that_non_local_in_chunks_has_no_matrix_of_all_pairs():
    pixels = 33 * 33
    x = jax.ShapeDtypeStruct((1, 33, 33, 8), jnp.float32)

    def peak(chunk):
        return peak_memory(forward_program(NonLocal(query_chunk=chunk), x, CPU))

    assert peak(None) > 4 * pixels**2 > peak(109)


def test_rounds_begin_with_another_program_each_time():
    order = []
    samples = iter(range(9))

    def sampler(name):
        return lambda: order.append(name) or next(samples)

    found = interleaved({name: sampler(name) for name in "abc"}, runs=3)
    assert "".join(order) == "abcbcacab"
    assert quartiles(found["a"])["latency_median"] == 5  # of 0, 5 and 7
    assert quartiles(found["b"])["latency_median"] == 3  # of 1, 3 and 8


def test_a_short_call_is_repeated_and_its_mean_taken(monkeypatch):
    clock = iter(range(1000))
    calls = []

    def call(argument):
        assert argument == 5
        calls.append(next(clock))
        return jnp.zeros(())

    def place():
        next(clock)  # takes its time too, off the record
        return (5,)

    monkeypatch.setattr("time.perf_counter", lambda: next(clock) / 500)
    sampler = make_sampler(call, place)
    assert not calls
    # A call takes two ticks of 1/500 s. 13 calls of 1/250 s are a sample of 0.05 s; the
    # ticks of the calls, and one more.
    for number in (2 + 13, 2 + 13 + 13):
        assert sampler() == pytest.approx(14 / 500 / 13)
        assert len(calls) == number


def test_a_program_that_runs_out_of_memory_in_a_round_is_left_out():
    rounds = iter([1.0, 2.0])
    left = iter([3.0])

    def fails():
        try:
            return next(left)
        except StopIteration:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of") from None

    found = interleaved({"good": lambda: next(rounds), "bad": fails}, runs=2)
    assert found.keys() == {"good"}
    assert quartiles(found["good"])["latency_median"] == 1.5


def test_whether_a_program_fits_does_not_depend_on_the_others(monkeypatch):
    """Each needs its argument and its result, on a device that has three arrays."""
    before = sum(x.nbytes for x in jax.live_arrays())

    def free(device):
        return 3 * BYTES + before - sum(x.nbytes for x in jax.live_arrays())

    monkeypatch.setattr(programs, "free_memory", free)
    most = []

    def watched(shapes, device):
        most.append(sum(x.nbytes for x in jax.live_arrays()) - before)
        return random_arrays(shapes, device)

    monkeypatch.setattr(programs, "random_arrays", watched)
    three = {f"{n}": compiled(lambda x, n=n: x + n) for n in range(3)}
    assert fitting(three, 2) == three.keys()
    assert max(most) < BYTES


def test_a_program_that_does_not_fit_is_not_run(monkeypatch):
    both = {
        "small": compiled(lambda x: x + 1),
        "large": compiled(lambda x: (x @ x) @ (x @ x).T),
    }
    assert fitting(both, 1) == {"small", "large"}
    monkeypatch.setattr(programs, "free_memory", lambda device: 2 * BYTES + 1)
    assert fitting(both, 1) == {"small"}


def test_only_a_lack_of_memory_is_forgiven():
    def fail(message):
        raise jax.errors.JaxRuntimeError(message)

    assert attempt(fail, "RESOURCE_EXHAUSTED: Out of memory") is None
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        attempt(fail, "INTERNAL: broken")
    assert attempt(lambda x: x + 1, 1) == 2


def test_random_arrays_are_like_those_of_a_network():
    vector = jax.ShapeDtypeStruct((3,), jnp.float32)
    statistics = {"bn": {"var": vector}, "bases": SHAPE}
    variables = {"params": {"kernel": SHAPE}, "batch_stats": statistics}
    variables, inputs = random_arrays((variables, SHAPE), CPU)
    assert (variables["batch_stats"]["bn"]["var"] == 1).all()
    assert variables["params"]["kernel"].std() == pytest.approx(1 / 16, rel=0.05)
    assert inputs.std() == pytest.approx(1, rel=0.05)
    bases = variables["batch_stats"]["bases"]
    assert (bases >= 0).all()
    assert jnp.linalg.norm(bases, axis=-1) == pytest.approx(1, rel=0.3)


def test_no_token_of_random_features_repeats():
    features = jax.ShapeDtypeStruct((1, 65, 65, 512), jnp.float32)
    [drawn] = random_arrays((features,), CPU)
    tokens = drawn.reshape(-1, 512)
    assert len(jnp.unique(tokens[:, :2], axis=0)) == len(tokens)


@pytest.mark.parametrize("name", ["em", "hamburger", "psa", "deeplabv3plus"])
def test_modules_stay_finite_on_random_arrays(name):
    module = context_modules(9, jnp.float32, CPU)[name]
    program = forward_program(module, inputs_of(module, 9, 64, jnp.float32), CPU)
    result = program(*random_arrays(program.args_info[0], CPU))
    assert 0.01 < jnp.abs(result).max() < 1000
