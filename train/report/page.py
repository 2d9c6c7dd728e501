"""`report.html`: one page that shows a training, and needs nothing but itself."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from train.evaluation.tally import Tally
from train.evaluation.validation import Seen
from train.report.confusion import draw_shares, most_confused
from train.report.curves import sparkline
from train.report.examples import Example, figure, swatch
from train.report.history import SECONDS, STARTED, Row, series
from train.report.markup import Child, as_html, element, scrolling, table
from train.report.progress import curves
from train.report.text import duration, figure_of, number, percent, share_of

NAME = "report.html"
STYLE = Path(__file__).with_name("page.css")
LARGEST = 10
"""Confusions that are listed."""


@dataclass(frozen=True)
class About:
    """What a page says of a training that does not change.

    Attributes:
        name: of the training.
        class_names, palette: of its data.
        split: on which it is evaluated.
        num_steps: updates that it is to make.
        facts: by name, such as the model's.
        differences: fields that are not as in the default config; value, and default.
        versions: by name.
    """

    name: str
    class_names: Sequence[str]
    palette: NDArray[np.uint8]
    split: str
    num_steps: int
    facts: Mapping[str, str]
    differences: Sequence[tuple[str, str, str]]
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Evaluated:
    """An evaluation: after how many updates, what it found, and some images."""

    step: int
    tally: Tally
    seen: Mapping[int, Seen]


def render(
    about: About, rows: Sequence[Row], evaluated: Evaluated, *, ended: bool
) -> str:
    """The page as text.

    Args:
        about: the training.
        rows: its figures; see `History`.
        evaluated: the last evaluation.
        ended: whether nothing comes after it.
    """
    title = f"Training {about.name}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", STYLE.read_text()),
    )
    body = element(
        "body",
        element(
            "main", element("h1", title), *_sections(about, rows, evaluated, ended)
        ),
        element(
            "footer",
            "All figures are in metrics.jsonl beside this page, one a line, and in "
            "tensorboard/; the panels of the evaluations are in pictures/. Written at "
            f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC.",
        ),
    )
    return "<!DOCTYPE html>\n" + as_html(element("html", head, body, lang="en")) + "\n"


def _sections(
    about: About, rows: Sequence[Row], evaluated: Evaluated, ended: bool
) -> Iterator[Element]:
    yield _summary(about, rows, evaluated, ended)
    yield from _section("Curves", curves(rows))
    yield from _section("Classes", _classes(about, rows, evaluated))
    yield from _section("Confusion", _confusion(about, evaluated.tally))
    yield from _section("Images", _images(about, evaluated))
    yield from _section("Config", _config(about))
    yield from _section("Versions", [_pairs("What computed", about.versions)])


def _section(title: str, parts: Sequence[Element]) -> Iterator[Element]:
    if parts:
        yield element("section", element("h2", title), *parts)


def _summary(
    about: About, rows: Sequence[Row], evaluated: Evaluated, ended: bool
) -> Element:
    scores = evaluated.tally.scores
    figures = {
        f"{about.split} mIoU (%)": percent(scores.mean_iou),
        "best mIoU (%)": _best(rows),
        "pixel accuracy (%)": percent(scores.pixel_accuracy),
        f"{about.split} loss": number(scores.loss),
        "updates": f"{evaluated.step} of {about.num_steps}"
        + ("" if ended else ", going on"),
        "time": _time(rows),
        **about.facts,
    }
    boxes = [
        element("div", element("dt", name), element("dd", value))
        for name, value in figures.items()
        if value
    ]
    return element("section", element("dl", *boxes), *_starts(rows))


def _best(rows: Sequence[Row]) -> str:
    found = series(rows, "val/mean_iou")
    if not found:
        return ""
    step, value = max(found, key=lambda point: point[1])
    return f"{percent(value)} at {step}"


def _time(rows: Sequence[Row]) -> str:
    return duration(rows[-1][SECONDS]) if rows else ""


def _starts(rows: Sequence[Row]) -> list[Element]:
    """When it was started, and went on."""
    starts = [
        f"{str(row[STARTED])[:16].replace('T', ' ')} UTC"
        + (f" from step {row['step']}" if row["step"] else "")
        for row in rows
        if STARTED in row
    ]
    if not starts:
        return []
    later = f", and again {'; '.join(starts[1:])}" if len(starts) > 1 else ""
    return [element("p", f"Started {starts[0]}{later}.")]


def _classes(about: About, rows: Sequence[Row], evaluated: Evaluated) -> list[Element]:
    scores, names = evaluated.tally.scores, about.class_names
    evaluations = [row for row in rows if "val/mean_iou" in row]
    best = max(
        evaluations,
        key=lambda row: figure_of(row["val/mean_iou"], -1.0),
        default={"step": evaluated.step},
    )
    head = ["class", "IoU (%)", f"at step {best['step']}, the best (%)"]
    head += ["over the training", "accuracy (%)", "share of pixels (%)"]
    lines: list[list[Child]] = []
    for index, name in enumerate(names):
        key = f"val_iou/{name}"
        label = element("span", swatch(about.palette[index]), name)
        past = [share_of(row.get(key)) for row in evaluations]
        lines.append(
            [
                label,
                percent(scores.iou[index]),
                percent(figure_of(best.get(key))),
                sparkline(past, f"IoU of {name} over the training"),
                percent(scores.accuracy[index]),
                percent(scores.share[index]),
            ]
        )
    means = percent(scores.mean_iou), percent(figure_of(best.get("val/mean_iou")))
    past = [share_of(row.get("val/mean_iou")) for row in evaluations]
    curve = sparkline(past, "mean IoU over the training")
    lines.append(["mean", *means, curve, percent(scores.class_accuracy), ""])
    if best["step"] == evaluated.step:  # once is enough
        del head[2]
        lines = [line[:2] + line[3:] for line in lines]
    caption = f"Classes on {about.split} after step {evaluated.step}"
    shown = table(caption, head, lines, class_="numbers")
    *_, last = shown.iter("tr")
    last.set("class", "mean")
    return [shown]


def _confusion(about: About, tally: Tally) -> list[Element]:
    names = about.class_names
    drawn = scrolling(draw_shares(tally.confusion, names), "Confusion matrix")
    text = "Of the pixels of each class, a row, the share in percent that is predicted "
    text += "as each class, a column: the darker, the larger."
    lines: list[list[Child]] = [
        [
            f"{names[true]} taken for {names[predicted]}",
            percent(share),
            f"{pixels:,}",
        ]
        for true, predicted, pixels, share in most_confused(tally.confusion, LARGEST)
    ]
    parts = [element("p", text), drawn]
    if lines:
        head = ["what", "share of the class (%)", "pixels"]
        parts.append(table("The most wrong pixels", head, lines, class_="numbers"))
    return parts


def _images(about: About, evaluated: Evaluated) -> list[Element]:
    tally, seen = evaluated.tally, evaluated.seen
    return [
        figure(
            Example(title.capitalize(), seen[index], tally.images[index]),
            about.class_names,
            about.palette,
        )
        for title, index in tally.typical().items()
        if index in seen
    ]


def _config(about: About) -> list[Element]:
    if not about.differences:
        return [element("p", "Every field is as in configs/default.py.")]
    lines: list[list[Child]] = [
        [element("code", cell) for cell in line] for line in about.differences
    ]
    caption = "Fields that are not as in configs/default.py"
    return [table(caption, ["field", "here", "default"], lines)]


def _pairs(caption: str, values: Mapping[str, str]) -> Element:
    return table(caption, ["what", "which"], [[*pair] for pair in values.items()])
