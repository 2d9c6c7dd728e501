"""Where the lines of a chart go."""

import re

import pytest

from train.report.curves import Line, chart, log_ticks, nice_ticks, sparkline, thinned
from train.report.markup import as_html


def places(text: str) -> list[tuple[float, float]]:
    """The points of the first path."""
    [path] = re.findall(r'<path d="M([^"]*)"', text)[:1]
    return [tuple(map(float, point.split())) for point in path.split("L")]


def test_a_line_lies_where_its_values_are():
    """Over 0 to 100 steps and from 0 to 4: 48 to 388 across, 204 to 26 up."""
    drawn = chart("loss", [Line("a", [(0, 0.0), (50, 4.0), (100, 1.0)])])
    assert places(as_html(drawn)) == [(48, 204), (218, 26), (388, 159.5)]


def test_far_apart_values_get_a_logarithmic_scale():
    line = Line("a", [(1, 0.01), (2, 10.0), (3, 0.1)])
    text = as_html(chart("norm", [line], logarithmic=True))
    heights = [y for _, y in places(text)]
    assert heights == pytest.approx([204, 26, 204 - 178 / 3], abs=0.06)
    assert "norm (logarithmic)" in text
    assert "logarithmic" not in as_html(chart("norm", [line]))


def test_a_chart_says_in_words_what_it_shows():
    lines = [Line("train", [(5, 2.0), (10, 1.5)]), Line("val", [(10, 1.25)], True)]
    text = as_html(chart("Loss", lines))
    assert "train from 2 at step 5 to 1.5 at step 10; val from 1.25 at step 10" in text
    assert "<title>val, step 10: 1.25</title>" in text


def test_no_chart_without_points():
    assert chart("Loss", [Line("train", [])]) is None


@pytest.mark.parametrize("values", [[0.0], [5.0, 5.0], [-1.0, -1.0], [1e-9, 1e9]])
def test_odd_values_are_drawn(values):
    points = list(enumerate(values))
    text = as_html(chart("a", [Line("a", points)], logarithmic=True))
    assert len(places(text)) == len(values)
    assert all(0 <= x <= 400 and 0 <= y <= 230 for x, y in places(text))
    assert "nan" not in text


@pytest.mark.parametrize("span", [(0, 1), (0.1, 0.11), (0, 30_000), (-3, 2), (7, 7)])
def test_ticks_are_round_and_hold_the_values(span):
    ticks = nice_ticks(*span)
    assert ticks[0] <= span[0]
    assert ticks[-1] >= span[1]
    assert 2 <= len(ticks) <= 7
    assert all(len(f"{tick:g}") <= 6 for tick in ticks)


def test_logarithmic_ticks_hold_the_values():
    ticks = log_ticks(3e-12, 4e8)
    assert ticks[0] <= 3e-12
    assert ticks[-1] >= 4e8
    assert len(ticks) <= 8


def test_many_points_keep_their_extremes():
    points = [(float(n), float(n % 7)) for n in range(30_000)]
    points[12_345] = (12_345.0, 99.0)
    found = thinned(points)
    assert len(found) <= 300
    assert (12_345.0, 99.0) in found
    assert found == sorted(found)


def test_a_sparkline_passes_over_what_is_not_defined():
    assert places(as_html(sparkline([0.0, None, 1.0], "a"))) == [(3, 19), (87, 3)]
    assert "<path" not in as_html(sparkline([None], "a"))
