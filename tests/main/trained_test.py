"""Which trained network: mistakes that `evaluate` and `predict` have in common."""

import pytest

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
    assert "no complete safetensors file" in message


def test_a_mistake_in_the_config_is_said_before_the_weights_are_read(refused_at_once):
    message = refused_at_once(
        "evaluate", "--weights=emanet.pth", "--config=configs/voc.py:emanet_r5"
    )
    assert message.startswith("config.model.name='emanet_r5' is unknown; did you mean")


def test_weights_need_a_config(refused_at_once):
    message = refused_at_once("evaluate", "--weights=emanet.pth")
    assert "give --config too" in message
