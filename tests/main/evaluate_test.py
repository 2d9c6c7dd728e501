"""`evaluate`: a network's scores on its data or on other data."""

import csv

import numpy as np
import pytest
from PIL import Image

import main
from tests.main.files import write_data
from train import commands
from train.workdir import restore


def test_scores_on_data_of_other_classes(refused_at_once, workdir, tmp_path):
    root = write_data(tmp_path / "data", "night\nday\n")
    message = refused_at_once(
        "evaluate",
        f"--workdir={workdir}",
        f"--config.data.root={root}",
        f"--config.data.data_dir={tmp_path / 'records'}",
    )
    assert "tells 2 classes apart (dark, bright); folder has 2 (night, day)" in message


@pytest.mark.parametrize(
    ("option", "wanted"),
    [
        ("--split=night", "has no split 'night'; it has train, val"),
        ("--config.data.root=/nowhere/at/all", "/nowhere/at/all: no such folder"),
        ("--config.evaluation.batch_size=3", "config.evaluation.batch_size=3 cannot"),
        ("--config.model.kernel=cosine", "config.model.kernel='cosine' is unknown"),
        ("--config.model.eval_iters=0", "config.model.eval_iters=0 cannot be used"),
        ("--config.modl.kernel=dot", "config.modl.kernel does not exist"),
        ("--config.data.flip=perhaps", "'perhaps' is not of type bool"),
        ("--mask", "'--mask' is not understood"),
    ],
)
def test_an_evaluation_that_cannot_be(refused_at_once, workdir, option, wanted):
    assert wanted in refused_at_once("evaluate", f"--workdir={workdir}", option)


@pytest.mark.parametrize(
    ("overrides", "wanted"),
    [
        (["num_bases=5"], "bases"),
        (["name=emanet_r50"], "backbone"),
        (["bases_update=gradient", "gradient=unroll"], "bases"),
    ],
)
def test_an_evaluation_of_another_model(refused_at_once, workdir, overrides, wanted):
    message = refused_at_once(
        "evaluate",
        f"--workdir={workdir}",
        *(f"--config.model.{override}" for override in overrides),
    )
    assert message.startswith(f"{workdir}, step 3: config.model does not fit: ")
    assert wanted in message


def test_an_evaluation_on_other_data_of_the_same_classes(workdir, tmp_path, capsys):
    root = write_data(tmp_path / "data")
    options = [
        f"--config.data.root={root}",
        f"--config.data.data_dir={tmp_path / 'records'}",
    ]
    capsys.readouterr()
    assert (
        main.main(["evaluate", f"--workdir={workdir}", "--split=train", *options]) == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("split train")
    assert [line.split()[0] for line in lines[2:4]] == ["dark", "bright"]


def test_the_iterations_and_windows_of_an_evaluation_can_be_set(workdir, monkeypatch):
    """The overrides reach the model, which is built before the data is opened."""
    seen = []

    def scores(validation, variables):
        raise commands.UserError("enough")

    class Watched(restore.Validation):
        def __init__(self, split, model, *others):
            unit = model.head.context
            seen.append((unit.eval_iters, unit.eval_window))
            super().__init__(split, model, *others)

    Watched.scores = scores
    monkeypatch.setattr(restore, "Validation", Watched)
    command = ["evaluate", f"--workdir={workdir}"]
    assert main.main(command) == 2
    command += ["--config.model.eval_iters=7", "--config.model.eval_window=(9, 5)"]
    assert main.main(command) == 2
    assert seen == [(None, None), (7, (9, 5))]


def test_the_scores_of_each_image(workdir, tmp_path, capsys):
    out = tmp_path / "scores"
    capsys.readouterr()
    command = ["evaluate", f"--workdir={workdir}", "--split=train", f"--output={out}"]
    assert main.main(command) == 0
    printed = capsys.readouterr().out.splitlines()
    images = list(csv.DictReader((out / "images.csv").read_text().splitlines()))
    assert len(images) == 4
    merits = [float(image["mean_iou"]) for image in images]
    assert merits == sorted(merits)
    confusion = list(csv.reader((out / "confusion.csv").read_text().splitlines()))
    assert confusion[0] == ["true \\ predicted", "dark", "bright"]
    assert [row[0] for row in confusion[1:]] == ["dark", "bright"]
    counts = np.array([row[1:] for row in confusion[1:]], float)
    iou = np.diag(counts) / (counts.sum(0) + counts.sum(1) - np.diag(counts))
    assert float(printed[4].split()[1]) == pytest.approx(100 * iou.mean(), abs=0.006)
    sizes = 40 * 56 * 4  # of which a few are ignored
    assert 0.98 * sizes < counts.sum() < sizes
    worst = sorted(path.name for path in (out / "worst").iterdir())
    assert worst == [
        f"{i + 1:02}_{image['name']}.png" for i, image in enumerate(images)
    ]
    for picture, height, widths in (
        ("confusion.png", 372, (492, 491)),  # by matplotlib 3.11's letters, and 3.10's
        (f"worst/{worst[0]}", 44, (180,)),
    ):
        with Image.open(out / picture) as opened:
            assert opened.height == height
            assert opened.width in widths
