"""Line charts as SVG: told apart by dashes and marks, not by colour alone."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element

from train.report.markup import append, element

Point = tuple[float, float]

WIDTH, HEIGHT = 400, 230
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 26, 26
MOST = 300
"""Points of a line; of more, the highest and the lowest of each stretch are drawn."""
DECADES = 30.0
"""Ratio of the largest to the smallest value from which a scale is logarithmic."""
COLORS = ("#0072B2", "#B84A00")
DASHES = (None, "6 3")


class Line(NamedTuple):
    """One line of a chart.

    Attributes:
        name: for the legend.
        points: (x, y), by x.
        marked: whether each point has a mark, which says its value.
    """

    name: str
    points: Sequence[Point]
    marked: bool = False


def chart(
    title: str, lines: Sequence[Line], *, logarithmic: bool = False
) -> Element | None:
    """A figure of lines over the steps; None where there is no point.

    Args:
        title: what is drawn, and its unit.
        lines: at most two; those without points are left out.
        logarithmic: where the values are positive and far apart.
    """
    lines = [line for line in lines if line.points]
    if not lines:
        return None
    values = [y for line in lines for _, y in line.points]
    logarithmic = logarithmic and min(values) > 0
    logarithmic = logarithmic and max(values) / min(values) > DECADES
    ticks = (
        log_ticks(min(values), max(values))
        if logarithmic
        else nice_ticks(*_span(values))
    )
    right = max(1.0, *(x for line in lines for x, _ in line.points))
    steps = [tick for tick in nice_ticks(0, right) if tick <= right]
    drawn = element(
        "svg",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=f"{title}: {'; '.join(map(described, lines))}",
    )
    across = _scale(0, right, LEFT, WIDTH - RIGHT)
    up = _scale(ticks[0], ticks[-1], HEIGHT - BOTTOM, TOP, logarithmic)
    append(drawn, *_axes(steps, ticks, across, up))
    for index, line in enumerate(lines):
        append(drawn, *_drawn(line, index, across, up))
    if len(lines) > 1:
        append(drawn, *_legend(lines))
    scale = " (logarithmic)" if logarithmic else ""
    return element("figure", element("figcaption", title + scale), drawn)


def sparkline(values: Sequence[float | None], name: str) -> Element:
    """A small line of shares from 0 to 1, in the order of time."""
    width, height = 90, 22
    drawn = element(
        "svg",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        aria_label=name,
    )
    last = max(len(values) - 1, 1)
    points = [
        (3 + (width - 6) * index / last, height - 3 - (height - 6) * value)
        for index, value in enumerate(values)
        if value is not None
    ]
    baseline = {"x1": 0, "x2": width, "y1": height - 2.5, "y2": height - 2.5}
    append(drawn, element("line", **baseline, class_="grid"))
    if points:
        style = {"fill": "none", "stroke": COLORS[0], "stroke_width": 1.5}
        append(drawn, element("path", d=_path(points), **style))
        x, y = points[-1]
        append(
            drawn,
            element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=2.2, fill=COLORS[0]),
        )
    return drawn


def thinned(points: Sequence[Point], most: int = MOST) -> Sequence[Point]:
    """At most about as many points, with the extremes of each stretch among them.

    Example:
        >>> thinned([(0, 1), (1, 9), (2, 2), (3, 3), (4, 0), (5, 1)], most=4)
        [(0, 1), (1, 9), (3, 3), (4, 0)]
    """
    if len(points) <= most:
        return points
    length = -(-2 * len(points) // most)
    chosen = []
    for start in range(0, len(points), length):
        stretch = points[start : start + length]
        extremes = {min(stretch, key=lambda p: p[1]), max(stretch, key=lambda p: p[1])}
        chosen += sorted(extremes)
    return chosen


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About so many round numbers from at most `low` to at least `high`.

    Example:
        >>> nice_ticks(0, 500), nice_ticks(0.31, 1.7)
        ([0.0, 200.0, 400.0, 600.0], [0.0, 0.5, 1.0, 1.5, 2.0])
    """
    span = high - low or abs(high) or 1.0
    size = 10.0 ** math.floor(math.log10(span / count))
    step = next(size * m for m in (1, 2, 5, 10) if size * m * count >= span)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = max(0, 1 - math.floor(math.log10(step)))
    return [round(step * n, digits) for n in range(first, max(last, first + 1) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten around positive numbers.

    Example:
        >>> log_ticks(0.02, 3)
        [0.01, 0.1, 1.0, 10.0]
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    stride = max(1, round((last - first) / 5))
    powers = [*range(first, last, stride), last]
    return [float(f"1e{power}") for power in powers]


def described(line: Line) -> str:
    """A line in words, for who does not see it."""
    (first, start), (last, end) = line.points[0], line.points[-1]
    return (
        f"{line.name} from {start:.4g} at step {first:g} to {end:.4g} at step {last:g}"
    )


def short(value: float) -> str:
    """A number of an axis.

    Example:
        >>> short(0.0), short(20000.0), short(0.05), short(1e-05)
        ('0', '20k', '0.05', '1e-05')
    """
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k" if abs(value) < 1e7 else f"{value:.0e}"
    return f"{value:g}"


def _span(values: Sequence[float]) -> tuple[float, float]:
    """From zero, where that costs little of the height."""
    low, high = min(values), max(values)
    return (0.0 if 0 < low < 0.6 * high else low), high


def _scale(
    low: float, high: float, start: float, end: float, logarithmic: bool = False
) -> Callable[[float], float]:
    bend = math.log10 if logarithmic else float

    def place(value: float) -> float:
        share = (bend(value) - bend(low)) / (bend(high) - bend(low))
        return start + (end - start) * share

    return place


def _axes(
    steps: Sequence[float],
    ticks: Sequence[float],
    across: Callable[[float], float],
    up: Callable[[float], float],
) -> list[Element]:
    drawn = []
    for tick in ticks:
        y = f"{up(tick):.1f}"
        drawn.append(
            element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid")
        )
        drawn.append(
            element(
                "text", short(tick), x=LEFT - 6, y=y, dy="0.35em", text_anchor="end"
            )
        )
    for tick in steps:
        where = {"x": f"{across(tick):.1f}", "y": HEIGHT - BOTTOM + 16}
        anchor = "end" if across(tick) > WIDTH - 2 * RIGHT else "middle"
        drawn.append(element("text", short(tick), **where, text_anchor=anchor))
    return drawn


def _drawn(
    line: Line,
    index: int,
    across: Callable[[float], float],
    up: Callable[[float], float],
) -> list[Element]:
    points = [(across(x), up(y)) for x, y in thinned(line.points)]
    color = COLORS[index]
    style = {"stroke": color, "stroke_dasharray": DASHES[index]}
    drawn = [element("path", d=_path(points), fill="none", stroke_width=1.8, **style)]
    few = len(line.points) <= MOST
    for (x, y), (step, value) in zip(points, line.points, strict=False):
        if few and (line.marked or len(points) == 1):
            tip = element("title", f"{line.name}, step {step:g}: {value:.4g}")
            place = {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": 3.2}
            drawn.append(element("circle", tip, **place, fill=color))
    return drawn


def _legend(lines: Sequence[Line]) -> list[Element]:
    drawn = []
    for index, line in enumerate(lines):
        x = LEFT + index * (WIDTH - LEFT) // 2
        style = {"stroke": COLORS[index], "stroke_dasharray": DASHES[index]}
        drawn.append(
            element("line", x1=x, x2=x + 26, y1=11, y2=11, stroke_width=1.8, **style)
        )
        if line.marked:
            drawn.append(element("circle", cx=x + 13, cy=11, r=3.2, fill=COLORS[index]))
        drawn.append(element("text", line.name, x=x + 32, y=11, dy="0.35em"))
    return drawn


def _path(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
