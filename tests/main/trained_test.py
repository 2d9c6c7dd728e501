"""Which trained network: mistakes that `evaluate` and `predict` have in common."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import main
from tests.golden import cases, seeded
from tests.golden.pth import write_pth
from tests.main.files import arguments_of


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_a_workdir_that_does_not_exist(refused_at_once, folder, command):
    workdir = folder / "nowhere"
    message = refused_at_once(*arguments_of(command, workdir, folder))
    assert message == f"--workdir={workdir} does not exist; train first"
    assert not workdir.exists()


@pytest.mark.parametrize("command", ["evaluate", "predict"])
@pytest.mark.parametrize("files", [[], ["checkpoints/"], ["notes.txt"]])
def test_a_workdir_without_checkpoints(
    refused_at_once, folder, tmp_path, command, files
):
    for name in files:
        path = tmp_path / name
        path.mkdir() if name.endswith("/") else path.write_text("")
    before = sorted(tmp_path.rglob("*"))
    message = refused_at_once(*arguments_of(command, tmp_path, folder))
    assert message == f"--workdir={tmp_path} has no checkpoint; train first"
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_a_checkpoint_that_is_not_there(refused_at_once, folder, workdir, command):
    message = refused_at_once(*arguments_of(command, workdir, folder), "--checkpoint=7")
    assert message.startswith(f"--checkpoint=7 is not in {workdir}; there are best, la")


@pytest.mark.parametrize("option", ["--weights", "--config.model.pretrained"])
def test_weights_that_cannot_be_read(refused_at_once, config_file, tmp_path, option):
    damaged = tmp_path / "weights.safetensors"
    damaged.write_bytes(b"not weights at all")
    command = ["train", f"--workdir={tmp_path / 'run'}"]
    if option == "--weights":
        command = ["evaluate"]
    message = refused_at_once(
        *command, f"--config={config_file}", f"{option}={damaged}"
    )
    assert str(damaged) in message
    assert "no complete file of weights" in message


def test_a_mistake_in_the_config_is_said_before_the_weights_are_read(refused_at_once):
    message = refused_at_once(
        "evaluate", "--weights=emanet.pth", "--config=configs/voc.py:emanet_r5"
    )
    assert message.startswith("config.model.name='emanet_r5' is unknown; did you mean")


@pytest.fixture
def released(tmp_path):
    """A small EMANet as it was released."""
    network = cases.Network(
        stage_sizes=(1, 1, 1, 1), base_width=8, channels=16, num_bases=4, num_classes=5
    )
    state = seeded.state_dict(cases.network_shapes(network))
    path = tmp_path / "emanet.pth"
    write_pth(path, state)
    return path, state


def test_weights_need_a_config(refused, released):
    path, _ = released
    message = refused("evaluate", f"--weights={path}")
    assert message == (
        f"--weights={path} does not say how the network is built; "
        "give --config too, such as configs/voc.py"
    )


def test_a_start_that_is_not_finite(refused, released, config_file, tmp_path):
    path, state = released
    state["fc2.bias"][1] = np.nan
    write_pth(path, state)
    command = ["train", f"--workdir={tmp_path / 'run'}", f"--config={config_file}"]
    command += [f"--config.model.pretrained={path}"]
    assert refused(*command) == (
        f"config.model.pretrained={path}: weights that are not finite, in "
        "params/head/classifier/bias; take an earlier checkpoint, or "
        "--config.model.allow_non_finite=true"
    )


def test_one_file_whose_data_are_not_said(refused, workdir, tmp_path):
    path = tmp_path / "model.safetensors"
    assert main.main(["convert", str(workdir), str(path)]) == 0
    message = refused("evaluate", f"--weights={path}")
    assert message.endswith("add --config.data.name=folder --config.data.root=…")
    assert "exists; choose another name" in refused("convert", workdir, path)


def test_a_workdir_and_a_file_in_the_place_of_each_other(refused, workdir, config_file):
    message = refused("evaluate", f"--workdir={config_file}")
    assert message.endswith("is a file; give weights as --weights")
    message = refused("predict", f"--weights={workdir}", "x.png", "--output=out")
    assert message.endswith("is a folder; give a workdir as --workdir")


def test_weights_that_are_not_finite(refused, workdir, config_file, tmp_path):
    """They would say class 0 everywhere, and no word."""
    path = tmp_path / "model.safetensors"
    assert main.main(["convert", str(workdir), str(path)]) == 0
    arrays = load_file(path)
    [name] = [name for name in arrays if name.endswith("classifier/bias")]
    arrays[name][0] = np.inf
    save_file(arrays, path)
    command = ["evaluate", f"--config={config_file}", f"--weights={path}"]
    message = refused(*command)
    assert message.startswith(f"--weights={path}: weights that are not finite, in ")
    assert message.endswith(" or --config.model.allow_non_finite=true")
    allowed = "--config.model.allow_non_finite=true"
    assert main.main([*command, allowed]) == 0


def test_a_config_of_another_network_than_the_file_says(refused_at_once):
    weights = "weights/emanet_lite0_voc_part.safetensors"
    command = ["evaluate", f"--weights={weights}", "--config=configs/folder.py"]
    message = refused_at_once(*command, "--config.data.root=nowhere")
    assert message.startswith(f"--weights={weights}: the weights do not fit the model;")
    assert message.endswith("; the file says its network: leave --config out")
