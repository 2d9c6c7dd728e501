"""What a training leaves for its reader: `report.html` and `metrics.jsonl`."""

import json
import re
import shutil

import pytest

import main
from tests.train.report.by_hand import Parsed

FIGURES = {"loss", "mean_iou", "pixel_accuracy", "class_accuracy"}


def rows_of(workdir) -> list[dict]:
    return [json.loads(x) for x in (workdir / "metrics.jsonl").read_text().splitlines()]


def table_of(workdir, step: int) -> dict[str, list[str]]:
    """The table of classes of the page, by class."""
    found = Parsed((workdir / "report.html").read_text())
    table = found.tables[f"Classes on val after step {step}"]
    return {row[0]: row[1:] for row in table[1:]}


def train(config_file, workdir, *overrides: str) -> int:
    command = ["train", f"--config={config_file}", f"--workdir={workdir}"]
    return main.main([*command, *(f"--config.{field}" for field in overrides)])


def test_the_page_has_the_scores_that_evaluate_prints(copied, capsys):
    command = ["evaluate", f"--workdir={copied}", "--checkpoint=last"]
    assert main.main(command) == 0
    printed = {}
    for line in capsys.readouterr().out.splitlines():
        name, *figures = re.split(r" {2,}", line.strip())
        printed[name] = figures
    shown = table_of(copied, 3)
    for name in ("dark", "bright", "mean"):
        iou, accuracy, *_ = printed[name]
        assert shown[name][0] == iou
        assert accuracy in shown[name]
    text = (copied / "report.html").read_text()
    assert "3 of 3<" in text
    assert text.count("<img") == 2 * 4  # two images in the split
    assert "data.root" in text  # of the config's differences


def test_every_figure_is_kept(copied):
    *_, trained, evaluated = rows_of(copied)
    assert trained["step"] == evaluated["step"] == 3
    assert trained["train/learning_rate"] >= 0
    assert trained["train/gradient_norm"] > 0
    assert {f"val/{name}" for name in FIGURES} <= evaluated.keys()
    assert {"val_iou/dark", "val_iou/bright"} <= evaluated.keys()
    assert 0 < evaluated["bases/entropy"] <= 1
    assert 0 <= evaluated["bases/dead"] < 1
    assert 0 < evaluated["bases/drift"] < 1
    mean = (evaluated["val_iou/dark"] + evaluated["val_iou/bright"]) / 2
    assert evaluated["val/mean_iou"] == pytest.approx(mean, rel=1e-6)


def test_a_training_that_goes_on_continues_its_curves(config_file, copied, capsys):
    """It was killed after step 4, while it wrote; and a folder bars the page."""
    before, path = rows_of(copied), copied / "metrics.jsonl"
    lost = json.dumps({"step": 4, "seconds": 1e6, "train/loss": 9.0})
    path.write_text(f'{path.read_text()}{lost}\n{{"step": 5, "sec')
    (copied / "report.html").unlink()
    (copied / "report.html").mkdir()
    assert train(config_file, copied, "num_steps=5", "evaluation.every=4") == 0
    said = capsys.readouterr().err
    assert f"note: {copied}/report.html cannot be written (Is a directory)" in said
    assert f"report       {copied}/report.html" in said
    rows = rows_of(copied)
    assert rows[: len(before)] == before
    steps = [row["step"] for row in rows if "train/loss" in row]
    assert steps == [1, 2, 3, 4, 5]
    assert [row["step"] for row in rows if "val/loss" in row] == [3, 4, 5]
    assert [row["step"] for row in rows if "started" in row] == [0, 3]
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds)
    assert seconds[-1] < 1e5

    shutil.rmtree(copied / "report.html")  # the same command makes it, and no more
    assert train(config_file, copied, "num_steps=5", "evaluation.every=4") == 0
    assert rows_of(copied) == rows
    assert table_of(copied, 5).keys() == {"dark", "bright", "mean"}
    text = (copied / "report.html").read_text()
    assert "and again" in text
    assert "from step 3" in text
