"""`train`: goes on from what there is, and stops where it must."""

import shutil
from pathlib import Path

import pytest

import main
from configs import default
from tests.main.files import contents
from train.configuration.config import field_names


def test_a_training_reads_every_field(training):
    assert training == set(field_names(default.get_config()))


def empty(checkpoint: Path) -> None:
    shutil.rmtree(checkpoint)
    checkpoint.mkdir()


def damage(checkpoint: Path) -> None:
    for path in (checkpoint / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(b"\0\0")


@pytest.mark.parametrize("spoil", [empty, damage])
def test_a_damaged_checkpoint(refused_at_once, config_file, copied, spoil, capsys):
    first = contents(copied / "checkpoints/2")
    spoil(copied / "checkpoints/3")
    evaluate = "evaluate", "--workdir", copied, "--checkpoint=last"
    message = refused_at_once(*evaluate)
    assert message.startswith(f"{copied}/checkpoints/3: the checkpoint cannot be")
    train = ["train", "--config", config_file, "--workdir", str(copied)]
    assert main.main(train) == 0
    said = capsys.readouterr().err.splitlines()
    [line] = [line for line in said if "cannot be restored" in line]
    assert line.startswith(f"{copied}/checkpoints/3: the checkpoint cannot be restored")
    assert line.endswith(f"; it is moved to {copied}/damaged")
    assert f"resuming {copied} from step 2" in said
    assert {p.name for p in (copied / "checkpoints").iterdir()} >= {"2", "3"}
    assert contents(copied / "checkpoints/2") == first


def test_damaged_checkpoints_alone(refused_at_once, config_file, copied):
    """Nothing is moved where there is nothing to go on from."""
    for step in (2, 3):
        damage(copied / "checkpoints" / str(step))
    before = contents(copied / "checkpoints")
    train = "train", "--config", config_file, "--workdir", copied
    message = refused_at_once(*train)
    assert message.startswith(f"{copied}/checkpoints/3: the checkpoint cannot be")
    assert contents(copied / "checkpoints") == before


def test_a_training_goes_on_with_rows_and_momentum_split(config_file, copied, capsys):
    """Four groups of two devices each, after eight that had whole images."""
    split = ("mesh.space=2", "mesh.shard_optimizer=true", "optimizer.norm_groups=4")
    five_steps = ("num_epochs=9", "max_steps=7", "evaluation.times=5")  # of 4 images
    status = main.main(
        [
            *("train", f"--config={config_file}", f"--workdir={copied}"),
            *(f"--config.{field}" for field in (*five_steps, *split)),
        ]
    )
    assert status == 0
    said = capsys.readouterr().err
    assert f"resuming {copied} from step 3" in said
    evaluated = [line for line in said.splitlines() if ": val mIoU" in line]
    assert [line.split(":")[0] for line in evaluated] == ["step 4", "step 5"]
    scores = []
    for override in ("mesh.space=2", "mesh.space=1"):
        assert (
            main.main(["evaluate", f"--workdir={copied}", f"--config.{override}"]) == 0
        )
        scores.append(capsys.readouterr().out.splitlines()[1:])
    assert scores[0] == scores[1]
    assert len(scores[0]) == 7  # a heading, two classes, three means, the loss


def test_a_training_that_does_not_fit(refused, config_file, copied, monkeypatch):
    monkeypatch.setattr("train.devices.memory.free_memory", lambda device: 8e5)
    message = refused(
        "train",
        f"--config={config_file}",
        f"--workdir={copied}",
        "--config.num_steps=5",
    )
    assert message.startswith("the training step needs 0.0")
    assert "config.batch_size" in message


def test_a_damaged_record(refused, folder, config_file, copied, tmp_path, capsys):
    """Bytes of one training record are lost: it stops the training, or is skipped."""
    records = shutil.copytree(folder / "records", tmp_path / "records")
    [path] = records.rglob("*-train.*")
    data = bytearray(path.read_bytes())
    data[10_000:10_100] = bytes(100)  # of about 8 000 for each of four
    path.write_bytes(data)
    command = ["train", f"--config={config_file}", f"--workdir={copied}"]
    command += [f"--config.data.data_dir={records}", "--config.num_steps=5"]
    message = refused(*command)
    assert "folder/train[" in message
    assert "the record is damaged" in message
    assert main.main([*command, "--config.data.corrupt=skip"]) == 0
    said = capsys.readouterr().err
    assert said.count("skipped, 1 of at most 10") == 1
    assert "step 5: val mIoU" in said


def test_updates_that_are_skipped(config_file, copied, capsys):
    """From an endless one on all are: the ceiling stops, and the checkpoints stay."""
    before = contents(copied / "checkpoints")
    options = ["num_steps=9", "checkpoint.every=9", "non_finite=skip"]
    options += ["optimizer.learning_rate=1e38", "max_non_finite=3"]
    command = ["train", f"--config={config_file}", f"--workdir={copied}"]
    assert main.main([*command, *(f"--config.{option}" for option in options)]) == 2
    *before_it, message = capsys.readouterr().err.splitlines()
    assert message.startswith("error: step "), message
    assert "; 3 updates in a row are not finite; the checkpoint of step 3" in message
    skips = [line.rpartition("; ")[2] for line in before_it if "is skipped" in line]
    assert skips == [f"the update is skipped, {n} so far" for n in (1, 2)]
    assert contents(copied / "checkpoints") == before


def test_a_loss_that_is_not_finite(refused, config_file, copied):
    """The step after an endless one; the checkpoints before it stay."""
    before = contents(copied / "checkpoints")
    message = refused(
        "train",
        f"--config={config_file}",
        f"--workdir={copied}",
        "--config.num_steps=9",
        "--config.checkpoint.every=9",
        "--config.log_every=9",
        "--config.optimizer.learning_rate=1e38",
    )
    assert message.startswith("step 5: the loss is nan")
    assert f"the checkpoint of step 3 is kept in {copied}" in message
    assert "lower config.optimizer.learning_rate" in message
    assert contents(copied / "checkpoints") == before
