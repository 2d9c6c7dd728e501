"""`convert`: a trained network as one file."""

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

    assert main.main(["convert", workdir, str(weights), "--backbone"]) == 0
    assert load_torch(weights)["params"].keys() == {"backbone"}
