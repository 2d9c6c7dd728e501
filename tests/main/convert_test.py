"""`convert`: a trained network as one file."""

from functools import partial

import jax
import numpy as np

import main
from ema_jax.weights import load_torch


def test_a_trained_network_starts_another(workdir, config_file, tmp_path, capsys):
    weights = tmp_path / "weights.safetensors"
    assert main.main(["convert", workdir, str(weights)]) == 0
    assert " 0.04 M parameters" in capsys.readouterr().out
    network = ["--weights", str(weights), "--config", config_file]
    assert main.main(["evaluate", *network]) == 0
    by_weights = capsys.readouterr().out.splitlines()[1:]
    assert main.main(["evaluate", "--workdir", workdir]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == by_weights

    backbone = tmp_path / "backbone.safetensors"
    assert main.main(["convert", workdir, str(backbone), "--backbone"]) == 0
    assert load_torch(backbone)["params"].keys() == {"backbone"}


def test_in_half_the_bytes_it_predicts_the_same(workdir, tmp_path):
    whole, half = (tmp_path / f"{name}.safetensors" for name in ("whole", "half"))
    assert main.main(["convert", workdir, str(whole)]) == 0
    assert main.main(["convert", workdir, str(half), "--half"]) == 0
    kept, rounded = load_torch(whole), load_torch(half)
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=2**-11, atol=1e-7), rounded, kept
    )
    assert all(x.dtype == np.float32 for x in jax.tree.leaves(rounded))
    header = 8 + int.from_bytes(half.read_bytes()[:8], "little")
    count = sum(x.size for x in jax.tree.leaves(kept))
    assert half.stat().st_size == header + 2 * count
