"""How the figures of a training went."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from train.report.curves import Line, chart
from train.report.history import SECONDS, Row, series
from train.report.markup import Child, element, table
from train.report.text import duration, figure_of, number, percent

BASES = (
    "The bases of EM attention, on the validation images: near the largest entropy no "
    "basis stands for anything, a dead basis is the most responsible one of no pixel "
    "of its image, and the drift is by which share of their length the initial bases "
    "moved in the last update before the evaluation."
)


def curves(rows: Sequence[Row]) -> list[Element]:
    """Charts of all figures that there are, and the evaluations as a table."""

    def line(name: str, key: str, factor: float = 1, marked: bool = False) -> Line:
        points = [(x, factor * y) for x, y in series(rows, key)]
        return Line(name, points, marked)

    both = "training", "validation"
    charts = [
        chart(
            "mIoU (%)",
            [
                line(both[0], "train/mean_iou", 100),
                line(both[1], "val/mean_iou", 100, marked=True),
            ],
        ),
        chart(
            "Loss",
            [line(both[0], "train/loss"), line(both[1], "val/loss", marked=True)],
        ),
        chart("Learning rate", [line("learning rate", "train/learning_rate")]),
        chart(
            "Norm of the gradient",
            [line("norm", "train/gradient_norm")],
            logarithmic=True,
        ),
        chart(
            "Entropy of the responsibilities (% of the largest)",
            [line("entropy", "bases/entropy", 100, marked=True)],
        ),
        chart(
            "Dead bases (% of all)",
            [line("dead bases", "bases/dead", 100, marked=True)],
        ),
        chart(
            "Drift of the initial bases in an update",
            [line("drift", "bases/drift", marked=True)],
        ),
        chart("Images per second", [line("images/s", "train/images_per_second")]),
    ]
    found = [drawn for drawn in charts if drawn is not None]
    if not found:
        return []
    parts = [element("div", *found, class_="charts"), *_evaluations(rows)]
    if series(rows, "bases/drift"):
        parts.append(element("p", BASES))
    return [element("p", "Against the number of updates."), *parts]


def _evaluations(rows: Sequence[Row]) -> list[Element]:
    """All evaluations as a table, folded."""
    keys = "mean_iou", "pixel_accuracy", "loss"
    lines: list[list[Child]] = [
        [
            str(row["step"]),
            *(percent(figure_of(row.get(f"val/{key}"))) for key in keys[:2]),
            number(figure_of(row.get("val/loss"))),
            duration(row[SECONDS]),
        ]
        for row in rows
        if "val/mean_iou" in row
    ]
    if not lines:
        return []
    head = ["after step", "mIoU (%)", "pixel accuracy (%)", "loss", "time"]
    shown = table("Validation", head, lines, class_="numbers")
    return [element("details", element("summary", "All evaluations"), shown)]
