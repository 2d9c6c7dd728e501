"""Tables and figures, against numbers worked out by hand."""

import csv
import io

import numpy as np
import pytest
from PIL import Image

from configs import shapes
from train.ablation.figures import draw, heat_map
from train.ablation.grid import Ablation, Axis, Run
from train.ablation.results import as_csv, as_markdown, cells, summarize


def ablation_of(axes, seeds, eval_iters=()):
    """An ablation of the product of {name: labels}."""
    points = [()]
    for labels in axes.values():
        points = [(*point, label) for point in points for label in labels]
    runs = [
        Run(point, seed, shapes.get_config(), f"runs/{','.join(point)}/seed{seed}")
        for seed in seeds
        for point in points
    ]
    made = tuple(Axis(name, dict.fromkeys(labels, ())) for name, labels in axes.items())
    return Ablation("mine", made, tuple(runs), eval_iters)


def finished(*scores, **others):
    """A result with (eval_iters, mIoU, pixel accuracy) each."""
    return {
        "status": "finished",
        "error": "",
        "images_per_second": 10.0,
        "parameters": 2_500_000,
        "scores": [
            {
                "eval_iters": iters,
                "mean_iou": iou,
                "pixel_accuracy": accuracy,
                "iou": {"sky": iou, "pole": None},
            }
            for iters, iou, accuracy in scores
        ],
        **others,
    }


DIVERGED = {"status": "diverged", "error": "step 3: the loss is nan, and so on"}


@pytest.fixture
def one_axis():
    ablation = ablation_of({"K": ["4", "16", "64"]}, seeds=(0, 1, 2))
    results = {
        "runs/4/seed0": finished((None, 0.5, 0.75)),
        "runs/4/seed1": finished((None, 0.6, 0.75), images_per_second=20.0),
        "runs/4/seed2": finished((None, 0.7, 0.75), images_per_second=30.0),
        "runs/16/seed0": finished((None, 0.25, 0.5), multiply_adds=3_000_000_000),
        "runs/16/seed1": DIVERGED,
    }
    return ablation, results


def test_csv(one_axis):
    lines = list(csv.DictReader(io.StringIO(as_csv(*one_axis))))
    assert [(line["K"], line["seed"], line["mean_iou"]) for line in lines] == [
        ("4", "0", "0.5"),
        ("16", "0", "0.25"),
        ("4", "1", "0.6"),
        ("16", "1", ""),
        ("4", "2", "0.7"),
    ]
    assert lines[3]["status"] == "diverged"
    assert lines[3]["error"] == DIVERGED["error"]
    assert lines[0]["images_per_second"] == "10.0"
    assert lines[1]["multiply_adds"] == "3000000000"
    assert lines[0]["multiply_adds"] == lines[0]["eval_iters"] == ""
    assert (lines[2]["iou/sky"], lines[2]["iou/pole"]) == ("0.6", "")


def test_markdown(one_axis):
    # 50, 60, 70: mean 60, deviations 10, 0, 10, sample variance 200 / 2
    text = as_markdown(*one_axis)
    assert text.startswith("# mine\n")
    assert "9 runs, 4 finished" in text
    assert "shapes: 500 steps of 16 crops of 97×97, from random weights" in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert table == [
        "| K | mIoU | pixel accuracy | images/s | parameters | multiply-adds | n |",
        "|---|---|---|---|---|---|---|",
        "| 4 | 60.00 ± 10.00 | 75.00 ± 0.00 | 20.0 ± 10.0 | 2.500 M | – | 3 |",
        "| 16 | 25.00 | 50.00 | 10.0 | 2.500 M | 3.000 G | 1 |",
        "| 64 | – | – | – | – | – | 0 |",
        "| class | 4 | 16 | 64 |",
        "|---|---|---|---|",
        "| sky | 60.00 ± 10.00 | 25.00 | – |",
        "| pole | – | – | – |",
    ]
    assert "- runs/16/seed1: diverged: step 3: the loss is nan, and so on" in text


@pytest.fixture
def sweep():
    ablation = ablation_of({"T_train": ["1", "3"]}, seeds=(0, 1), eval_iters=(2, 4))
    results = {
        "runs/1/seed0": finished((2, 0.1, 0.5), (4, 0.2, 0.5)),
        "runs/1/seed1": finished((2, 0.3, 0.5), (4, 0.2, 0.5)),
        "runs/3/seed0": finished((2, 0.4, 0.5), (4, None, 0.5)),
    }
    return ablation, results


def test_a_sweep_is_a_grid_of_training_and_evaluation(sweep):
    lines = list(csv.DictReader(io.StringIO(as_csv(*sweep))))
    assert [line["eval_iters"] for line in lines] == ["2", "4"] * 3
    text = as_markdown(*sweep).splitlines()
    start = text.index("| mIoU: T_train \\ T_eval | 2 | 4 |")
    assert text[start + 2 : start + 4] == [
        "| 1 | 20.00 ± 14.14 | 20.00 ± 0.00 |",  # 10, 30: √200; 20, 20
        "| 3 | 40.00 | – |",
    ]


def test_two_axes_are_a_grid(tmp_path):
    ablation = ablation_of({"update": ["a", "b"], "norm": ["l2", "none"]}, seeds=(0,))
    results = {"runs/a,none/seed0": finished((None, 0.5, 0.5))}
    grid = cells(ablation, summarize(ablation, results, "mean_iou"))
    assert (grid.rows, grid.columns) == (("a", "b"), ("l2", "none"))
    assert grid.values["a", "none"].mean == 0.5
    assert grid.values["b", "l2"] is None
    [axes] = heat_map(grid).axes
    [text] = axes.texts
    assert text.get_text() == "50.00"
    assert text.get_position() == (1, 0)


def test_figures(one_axis, sweep, tmp_path):
    assert draw(one_axis[0], {}, tmp_path) == []
    for data, names in (
        (one_axis, {"mean_iou", "cost"}),
        (sweep, {"mean_iou", "grid"}),
    ):
        paths = draw(*data, tmp_path)
        assert {path.stem for path in paths} == names
        for path in paths:
            with Image.open(path) as picture:
                pixels = np.asarray(picture.convert("L"))
            assert pixels.shape[1] > 300
            assert pixels.std() > 5
