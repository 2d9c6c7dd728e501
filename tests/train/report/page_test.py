"""The page by hand: its numbers, its escapes, and what may be missing."""

import re

import numpy as np
import pytest

from tests.train.report.by_hand import IMAGE, NAMES, Parsed, about, evaluated
from train.evaluation.metrics import scores
from train.evaluation.tally import Tally
from train.report.page import Evaluated, render


def test_the_table_has_the_scores(page):
    """Of the sum of the matrices: 8, 4, 0 of 12, then 6, 6, 0 of 12."""
    found = Parsed(render(*page, ended=False)).tables["Classes on val after step 10"]
    assert [row[0] for row in found[1:]] == [*NAMES, "mean"]
    assert [row[1] for row in found[1:]] == [f"{800 / 18:.2f}", "37.50", "–", "40.97"]
    assert [row[3] for row in found[1:3]] == [f"{800 / 12:.2f}", "50.00"]


def test_the_largest_confusions_are_named(page):
    found = Parsed(render(*page, ended=False)).tables["The most wrong pixels"]
    assert found[1:] == [
        [f"{NAMES[1]} taken for {NAMES[0]}", "50.00", "6"],
        [f"{NAMES[0]} taken for {NAMES[1]}", f"{400 / 12:.2f}", "4"],
    ]


def test_names_are_texts_and_nothing_is_fetched(page):
    text = render(*page, ended=True)
    found = Parsed(text)
    assert {"script", "b", "iframe"} & set(found.tags) == {"b"}
    assert found.tags.count("b") == 3  # the titles of three images
    assert found.tags.count("style") == 1
    assert found.tags.count("img") == 12
    assert all(link.startswith("data:") for link in found.links)
    assert not re.search(r"url\(|@import", text)
    for name in (*NAMES, IMAGE, "/<data>", "Training run <1>"):
        assert any(name in part for part in found.texts), name


def test_the_best_the_median_and_the_worst_in_this_order(page):
    texts = Parsed(render(*page, ended=True)).texts
    order = [texts.index(f"{title}: ") for title in ("Best", "Median", "Worst")]
    assert order == sorted(order)
    shown = [texts[place + 1].split(",")[0] for place in order]
    assert shown == ["best.png", IMAGE, "worst.png"]


def test_whether_it_goes_on(page):
    assert "10 of 20, going on" in render(*page, ended=False)
    assert "10 of 20<" in render(*page, ended=True)


def test_where_the_best_was_another_its_scores_stand_beside(page):
    described, rows, _ = page
    rows = [*rows, {"step": 15, "seconds": 90.0, "val/mean_iou": 0.2}]
    found = Parsed(render(described, rows, evaluated(15), ended=True))
    table = found.tables["Classes on val after step 15"]
    assert table[0][2] == "at step 10, the best (%)"
    assert [row[2] for row in table[1:]] == ["30.00", "–", "–", "40.00"]


@pytest.mark.parametrize("count", [1, 60])
def test_what_is_missing_is_left_out(count):
    """No figures, no images, no pixel of any class; and many classes."""
    described = about()
    object.__setattr__(described, "class_names", [f"c{n}" for n in range(count)])
    object.__setattr__(described, "palette", np.zeros((count, 3), np.uint8))
    object.__setattr__(described, "differences", [])
    nothing = np.zeros((count, count), int)
    tally = Tally(nothing, {0: scores(nothing, 0.0)}, scores(nothing, 0.0))
    text = render(described, [], Evaluated(3, tally, {}), ended=True)
    headings = re.findall("<h2>(.*?)</h2>", text)
    assert headings == ["Classes", "Confusion", "Config", "Versions"]
    assert "nan" not in re.sub('base64,[^"]*', "", text)


def test_figures_of_bases_are_there_where_there_are_some(page):
    described, rows, found = page
    assert "Dead bases" not in render(described, rows, found, ended=True)
    rows = [*rows, {"step": 10, "seconds": 71.0, "bases/dead": 0.5, "bases/drift": 0.1}]
    text = render(described, rows, found, ended=True)
    assert "dead bases from 50 at step 10 to 50 at step 10" in text
