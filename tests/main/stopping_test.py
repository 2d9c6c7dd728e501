"""A training that ends where no evaluation is better, and what it keeps then."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

import main
from train.evaluation.choice import make_merit
from train.evaluation.metrics import scores
from train.evaluation.tally import Tally
from train.training import evaluations

WELL = scores(np.array([[3, 1], [0, 4]]))


@pytest.fixture
def train(config_file, monkeypatch, capsys):
    """Goes on in a workdir, finding these figures (mean IoU, loss, IoU of a class)."""

    def train(workdir, num_steps, found, *options):
        left = [
            dataclasses.replace(WELL, mean_iou=mean, loss=loss, iou=np.array([iou, 0]))
            for mean, loss, iou in found
        ]

        def tally(self, variables, between):
            return Tally(np.array([[3, 1], [0, 4]]), {}, left.pop(0))

        monkeypatch.setattr(evaluations.Evaluations, "tally", tally)
        capsys.readouterr()
        command = ["train", f"--config={config_file}", f"--workdir={workdir}"]
        command += [f"--config.num_steps={num_steps}", "--config.evaluation.every=1"]
        command += ["--config.evaluation.num_pictures=0"]
        assert main.main([*command, "--config.early_stop=2", *options]) == 0
        assert left == []  # it evaluated as often as that
        return capsys.readouterr().err

    return train


def kept(workdir) -> list[int]:
    folders = (Path(workdir) / "checkpoints").iterdir()
    return sorted(int(path.name) for path in folders if path.name.isdecimal())


FOUND = [(0.6, 0.9, 0.1), (0.55, 0.8, 0.3), (0.5, 0.85, 0.2)]
"""Of steps 4, 5 and 6; the figures of step 3 are worse."""


def test_it_stops_where_the_same_training_in_two_parts_does(train, copied, tmp_path):
    parts = shutil.copytree(copied, tmp_path / "parts")
    said = train(copied, 9, FOUND)
    assert "stopped early: 2 evaluations without gain, config.early_stop=2" in said
    assert "val mIoU 0.5000 at step 6" in said
    assert kept(copied) == [4, 5, 6]  # two of the newest, and the best

    assert "stopped early" not in train(parts, 5, FOUND[:2])
    assert "val mIoU 0.5000 at step 6" in train(parts, 9, FOUND[2:])
    assert kept(parts) == [4, 5, 6]

    said = train(parts, 9, [FOUND[2]])  # nothing is left to do but to say so
    assert "stopped early" in said
    assert kept(parts) == [4, 5, 6]


def test_what_is_best_can_be_chosen(train, tmp_path):
    """The mean IoU would be best at first."""
    options = ["--config.checkpoint.best=loss", "--config.checkpoint.keep_last=1"]
    train(tmp_path, 3, [(0.7, 2.0, 0), (0.6, 1.5, 0), (0.5, 1.6, 0)], *options)
    assert kept(tmp_path) == [2, 3]


@pytest.mark.parametrize(
    ("best", "merit"),
    [(None, 0.6333), ("loss", -2.0), (("dark",), 0.6), (("bright", "dark"), 0.6333)],
)
def test_the_merit_of_scores(best, merit):
    """By hand, of nine pixels with 18 nats."""
    found = scores(np.array([[3, 2], [0, 4]]), 18.0)
    assert make_merit(best, ("dark", "bright"))(found) == pytest.approx(merit, abs=1e-4)


def test_a_choice_that_is_none(refused_at_once, config_file, copied):
    command = ["train", f"--config={config_file}", f"--workdir={copied}"]
    message = refused_at_once(*command, '--config.checkpoint.best=("drak",)')
    assert message.startswith("config.checkpoint.best=('drak',): 'drak' is no class;")
    assert refused_at_once(*command, "--config.checkpoint.best=loss") == (
        f"--workdir={copied} was trained with config.checkpoint.best=None, not "
        "'loss'; choose another workdir, or that value"
    )
