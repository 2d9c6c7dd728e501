"""A training of three classes with awkward names, and a page of it by hand."""

from html.parser import HTMLParser

import numpy as np

from train.evaluation.metrics import scores
from train.evaluation.tally import Tally
from train.evaluation.validation import Seen
from train.report.page import About, Evaluated

NAMES = ("<b>sky</b>", 'a&b "c"', "</style><script>alert(1)</script>")
IMAGE = "<img src=http://x.y/z onerror=alert(2)>"
MATRICES = [
    np.array([[4, 0, 0], [0, 4, 0], [0, 0, 0]]),
    np.array([[3, 1, 0], [2, 2, 0], [0, 0, 0]]),
    np.array([[1, 3, 0], [4, 0, 0], [0, 0, 0]]),
]
ROWS = [
    {"step": 0, "seconds": 0.0, "started": "2026-01-02T03:04:05+00:00"},
    {"step": 5, "seconds": 3.0, "train/loss": 2.0, "train/mean_iou": 0.25},
    {"step": 10, "seconds": 61.0, "train/loss": 1.0, "train/mean_iou": None},
    {"step": 10, "seconds": 70.0, "val/mean_iou": 0.4, "val_iou/<b>sky</b>": 0.3},
]


class Parsed(HTMLParser):
    """What a browser would find: tags, attributes that lead somewhere, and tables."""

    def __init__(self, text: str):
        super().__init__()
        self.tags = [""]
        self.links: list[str] = []
        self.texts: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self._table: list[list[str]] = []
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v or "" for k, v in attrs if k in ("src", "href", "srcset")]
        if tag == "table":
            self._table = []
        elif tag == "tr":
            self._table.append([])
        elif tag in ("td", "th"):
            self._table[-1].append("")
            self._in_cell = True

    def handle_data(self, data):
        self.texts.append(data)
        if self.tags[-1] == "caption":
            self.tables[data] = self._table
        elif self._in_cell:
            self._table[-1][-1] += data

    def handle_endtag(self, tag):
        self._in_cell &= tag not in ("td", "th")


def about() -> About:
    return About(
        "run <1>",
        NAMES,
        np.array([[0, 0, 0], [200, 0, 0], [0, 0, 200]], np.uint8),
        "val",
        20,
        {"model": "micro"},
        [("data.root", "/<data>", "None")],
        {"Python": "3.x"},
    )


def evaluated(step: int = 10) -> Evaluated:
    """Three images of two by four pixels, the second the median."""
    images = {n: scores(matrix, 8.0) for n, matrix in enumerate(MATRICES)}
    total = sum(MATRICES)
    truth = np.array([[0, 0, 0, 0], [1, 1, 1, 1]], np.uint8)
    image = np.zeros((2, 4, 3), np.uint8)
    names = ("best.png", IMAGE, "worst.png")
    seen = {n: Seen(image, truth, truth, name) for n, name in enumerate(names)}
    return Evaluated(step, Tally(total, images, scores(total, 24.0)), seen)
