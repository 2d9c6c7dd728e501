"""What the compiler says of a step, and what a chip makes of it."""

import math

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.pallas import tpu

from train.aot.breakdown import break_down
from train.aot.hlo import parse
from train.aot.report import CHIPS, Chip, estimate, find_chip, measured

CORES = {
    "v4": (tpu.ChipVersion.TPU_V4, 2),
    "v5e": (tpu.ChipVersion.TPU_V5E, 1),
    "v5p": (tpu.ChipVersion.TPU_V5P, 2),
    "v6e": (tpu.ChipVersion.TPU_V6E, 1),
}
"""By name: what jax calls it, and its cores."""


@pytest.mark.parametrize("name", CHIPS)
def test_chips_are_those_of_jax(name):
    version, cores = CORES[name]
    peer = tpu.get_tpu_info_for_chip(version, cores)
    chip = find_chip(f"{name}:4x4")
    assert chip.memory == pytest.approx(peer.hbm_capacity_bytes * cores, rel=0.02)
    assert chip.flops == pytest.approx(peer.bf16_ops_per_second * cores, rel=0.01)
    # jax has 2460 GB/s for v5p, where its page says 2765
    bandwidth = peer.mem_bw_bytes_per_second * cores
    assert chip.bandwidth == pytest.approx(bandwidth, rel=0.13)


def test_other_chips_have_no_figures():
    assert find_chip("v3:2x2") is None
    assert find_chip("v5:4x4") is None


CHIP = Chip(memory=1000, flops=100.0, bandwidth=10.0)


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ({"flops": 400, "bytes accessed": 30}, (4.0, "FLOPs")),
        ({"flops": 200, "bytes accessed": 30}, (3.0, "bytes")),
        (
            {"flops": 200, "bytes accessed": 30, "optimal_seconds": 2.5},
            (2.5, "compiler"),
        ),
        # no chip is faster than its peak
        (
            {"flops": 200, "bytes accessed": 30, "optimal_seconds": 1.9},
            (3.0, "bytes"),
        ),
        (
            {"flops": 200, "bytes accessed": 30, "optimal_seconds": -7.0},
            (3.0, "bytes"),
        ),
        (
            {"flops": 200, "bytes accessed": 30, "optimal_seconds": math.inf},
            (3.0, "bytes"),
        ),
    ],
)
def test_the_time_of_a_program(costs, expected):
    assert tuple(estimate(costs, CHIP).values()) == expected


def test_the_time_on_an_unknown_chip_is_the_compilers_or_none():
    costs = {"flops": 200.0, "bytes accessed": 30.0}
    assert estimate(costs, None) == {}
    known = costs | {"optimal_seconds": 1.5}
    assert estimate(known, None) == {"seconds": 1.5, "estimated_by": "compiler"}


def test_memory_counts_a_donated_argument_once():
    def update(state, batch):
        return state + batch.sum(), batch[:250]

    state = jax.ShapeDtypeStruct((1000,), jnp.float32)
    batch = jax.ShapeDtypeStruct((500,), jnp.float32)
    programs = (
        jax.jit(update, donate_argnums=n).lower(state, batch).compile() for n in ((), 0)
    )
    plain, donated = (
        measured(program, None, break_down(parse(program.as_text())))
        for program in programs
    )
    assert plain["arguments"] == donated["arguments"] == 6000
    pointers = 16  # the tuple of the results on a CPU
    assert plain["outputs"] == 5000 + pointers
    assert donated["outputs"] == 1000 + pointers
    parts = ("arguments", "outputs", "temporaries")
    assert plain["total"] == sum(plain[part] for part in parts)
