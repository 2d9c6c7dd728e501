"""The chips, against the table of jax's own kernels."""

import pytest
from jax.experimental.pallas import tpu

from train.aot.report import CHIPS, find_chip

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
