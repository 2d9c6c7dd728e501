"""Tables and figures, against numbers worked out by hand."""

import csv
import io
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from PIL import Image

from train.ablation.figures import against_cost, draw, heat_map, lines, points
from train.ablation.grid import Ablation, Run
from train.ablation.jobs import ROOT
from train.ablation.results import as_csv, find, sides, summarize
from train.ablation.tables import as_markdown
from train.configuration.config import ConfigDict, load_config

BASE = str(ROOT / "configs" / "ablations" / "base" / "shapes.py")


def ablation_of(axes, seeds, eval_iters=()):
    """An ablation of the product of {name: labels}."""
    points = [
        dict(zip(axes, labels, strict=True)) for labels in product(*axes.values())
    ]
    runs = [
        Run(point, seed, ConfigDict(), f"runs/{','.join(point.values())}/seed{seed}")
        for seed in seeds
        for point in points
    ]
    return Ablation("mine", tuple(axes), tuple(runs), eval_iters)


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
    lines = list(csv.DictReader(io.StringIO(as_csv(find(*one_axis)))))
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
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert table == [
        "| K | mIoU | pixel accuracy | against K=4 | images/s | parameters "
        "| multiply-adds | n |",
        "|---|---|---|---|---|---|---|---|",
        "| 4 | 60.00 ± 10.00 | 75.00 ± 0.00 | 0 | 20.0 ± 10.0 | 2.500 M | – | 3 |",
        "| 16 | 25.00 | 50.00 | -25.00 | 10.0 | 2.500 M | 3.000 G | 1 |",
        "| 64 | – | – | – | – | – | – | 0 |",
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
    lines = list(csv.DictReader(io.StringIO(as_csv(find(*sweep)))))
    assert [line["eval_iters"] for line in lines] == ["2", "4"] * 3
    text = as_markdown(*sweep).splitlines()
    start = text.index("| mIoU: T_train \\ T_eval | 2 | 4 |")
    assert text[start + 2 : start + 4] == [
        "| 1 | 20.00 ± 14.14 | 20.00 ± 0.00 |",  # 10, 30: √200; 20, 20
        "| 3 | 40.00 (n=1) | – |",
    ]
    base = "T_train=1, T_eval=2"
    head = f"| T_train | T_eval | mIoU | pixel accuracy | against {base} | n |"
    start = text.index(head)
    assert text[start + 2 : start + 6] == [
        "| 1 | 2 | 20.00 ± 14.14 | 50.00 ± 0.00 | 0 | 2 |",
        # 10, -10: √200 / √2
        "| 1 | 4 | 20.00 ± 0.00 | 50.00 ± 0.00 | +0.00 ± 10.00 | 2 |",
        "| 3 | 2 | 40.00 | 50.00 | +30.00 | 1 |",
        "| 3 | 4 | – | 50.00 | – | 0 |",
    ]
    start = text.index("| T_train | images/s | parameters | n |")
    assert text[start + 2 : start + 5] == [
        "| 1 | 10.0 ± 0.0 | 2.500 M | 2 |",
        "| 3 | 10.0 | 2.500 M | 1 |",
        "",
    ]


def test_the_conditions(one_axis):
    ablation, results = one_axis
    config = load_config(BASE)
    longer = load_config(BASE, ["--config.num_steps=9"])
    runs = [replace(run, config=config) for run in ablation.runs]
    runs[0] = replace(runs[0], config=longer)
    overrides = ("--config.model.temperature=2.0", "--config.num_steps=500")
    ablation = replace(ablation, runs=runs, base="base/x.py", overrides=overrides)
    machine = {"device": "cpu", "devices": 1, "cores": 2, "jobs": 3, "jax": "0.1"}
    results["runs/4/seed0"]["machine"] = machine
    results["runs/4/seed1"]["machine"] = machine | {"jobs": 1}
    [line] = [
        line
        for line in as_markdown(ablation, results).splitlines()
        if line.startswith("Conditions: ")
    ]
    assert line == (
        "Conditions: base base/x.py; data shapes; steps 9 / 500; batch 16; crop 97×97; "
        f"learning rate {config.optimizer.learning_rate}; start weights random; "
        "overrides --config.model.temperature=2.0; "
        "device cpu; devices 1; cores 2; jobs 3 / 1; jax 0.1."
    )


def test_two_axes_are_a_grid(tmp_path):
    ablation = ablation_of({"update": ["a", "b"], "norm": ["l2", "none"]}, seeds=(0,))
    results = {"runs/a,none/seed0": finished((None, 0.5, 0.5))}
    found = find(ablation, results)
    summary = summarize(found, "mean_iou")
    assert sides(summary) == (["a", "b"], ["l2", "none"])
    assert summary["a", "none"].mean == 0.5
    assert summary["b", "l2"] is None
    [axes] = heat_map(found.names, summary).axes
    [text] = axes.texts
    assert text.get_text() == "50.00"
    assert text.get_position() == (1, 0)


def test_figures(one_axis, sweep, tmp_path):
    assert draw("mine", find(one_axis[0], {}), tmp_path) == []
    for data, names in (
        (one_axis, {"mean_iou", "cost"}),
        (sweep, {"mean_iou", "grid"}),
    ):
        paths = draw("mine", find(*data), tmp_path)
        assert {path.stem for path in paths} == names
        for path in paths:
            with Image.open(path) as picture:
                pixels = np.asarray(picture.convert("L"))
            assert pixels.shape[1] > 300
            assert pixels.std() > 5


def test_figures_of_before_do_not_stay(sweep, one_axis, tmp_path):
    draw("mine", find(*sweep), tmp_path)
    draw("mine", find(*one_axis), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"mean_iou.png", "cost.png"}


def legend(figure):
    [found] = figure.legends
    return [text.get_text() for text in found.get_texts()]


def test_costs_that_are_alike_are_told_apart_by_a_legend(one_axis):
    ablation, results = one_axis
    results["runs/4/seed0"]["multiply_adds"] = 3_000_000_001
    figure = against_cost(find(ablation, results))
    assert legend(figure) == ["4", "16 (n=1)"]
    assert not list(figure.axes[0].texts)
    colours = {bar.lines[0].get_color() for bar in figure.axes[0].containers}
    assert len(colours) == 2


def test_lines_stand_apart_and_show_where_seeds_are_missing(sweep):
    found = find(*sweep)
    figure = lines(found.names, summarize(found, "mean_iou"))
    assert legend(figure) == ["T_train = 1", "T_train = 3 (n=1)"]
    [axes] = figure.axes
    marks = [bar.lines[0] for bar in axes.containers]
    assert [mark.get_markerfacecolor() for mark in marks] == ["C0", "C0", "white"]
    # columns 2 and 4 are one apart, as logarithms
    assert [float(mark.get_xdata()[0]) for mark in marks] == [0.875, 1.875, 1.125]


def test_a_point_of_fewer_seeds_is_marked(one_axis):
    figure = points(find(*one_axis))
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == ["4", "16 (n=1)", "64"]
