"""Memory of a program of known arrays, and times by hand."""

import math

import jax
import jax.numpy as jnp
import pytest

from train.aot.report import Chip, Estimate, estimate, memory

CHIP = Chip(memory=1000, flops=100.0, bandwidth=10.0)


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ({"flops": 400, "bytes accessed": 30}, Estimate(4.0, "FLOPs")),
        ({"flops": 200, "bytes accessed": 30}, Estimate(3.0, "bytes")),
        (
            {"flops": 200, "bytes accessed": 30, "optimal_seconds": 2.5},
            Estimate(2.5, "compiler"),
        ),
        # no chip is faster than its peak
        (
            {"flops": 200, "bytes accessed": 30, "optimal_seconds": 1.9},
            Estimate(3.0, "bytes"),
        ),
        (
            {"flops": 200, "bytes accessed": 30, "optimal_seconds": -7.0},
            Estimate(3.0, "bytes"),
        ),
        (
            {"flops": 200, "bytes accessed": 30, "optimal_seconds": math.inf},
            Estimate(3.0, "bytes"),
        ),
    ],
)
def test_the_time_of_a_program(costs, expected):
    assert estimate(costs, CHIP) == expected


def test_the_time_on_an_unknown_chip_is_the_compilers_or_none():
    costs = {"flops": 200.0, "bytes accessed": 30.0}
    assert estimate(costs, None) is None
    known = costs | {"optimal_seconds": 1.5}
    assert estimate(known, None) == Estimate(1.5, "compiler")


def test_memory_counts_a_donated_argument_once():
    def update(state, batch):
        return state + batch.sum(), batch[:250]

    state = jax.ShapeDtypeStruct((1000,), jnp.float32)
    batch = jax.ShapeDtypeStruct((500,), jnp.float32)
    plain = memory(jax.jit(update).lower(state, batch).compile())
    donated = jax.jit(update, donate_argnums=0).lower(state, batch).compile()
    assert plain.arguments == memory(donated).arguments == 6000
    pointers = 16  # the tuple of the results on a CPU
    assert plain.outputs == 5000 + pointers
    assert memory(donated).outputs == 1000 + pointers
    assert plain.total == sum(plain)
