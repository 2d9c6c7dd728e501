"""The evaluations of a training: scores, figures, pictures, and the page."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ema_jax import EMAU
from train.evaluation.health import health, initial_bases
from train.evaluation.metrics import Scores
from train.evaluation.pictures import panel
from train.evaluation.tally import Tally, tally
from train.evaluation.validation import Seen, Validation
from train.report.page import About, Evaluated
from train.training.report import Report

FIGURES = (
    *("loss", "mean_iou", "pixel_accuracy", "class_accuracy"),
    "frequency_weighted_iou",
)
Variables = dict[str, Any]


class Evaluations:
    """Evaluates states of a network, and reports what is found.

    Args:
        validation: a split under the network.
        unit: EM attention of that, if it has any.
        report: of the training.
        about: what the page says of it.
    """

    def __init__(
        self, validation: Validation, unit: EMAU | None, report: Report, about: About
    ):
        self.validation = validation
        self._unit, self._report, self._about = unit, report, about
        self._last: Evaluated | None = None

    def initial_bases(self, variables: Variables) -> np.ndarray | None:
        """A copy of μ⁰, if there are bases."""
        return initial_bases(self._unit, variables)

    def evaluate(
        self,
        step: int,
        variables: Variables,
        before: np.ndarray | None,
        between: Callable[[], None],
    ) -> Scores:
        """Scores after a step, reported, with pictures; left out of the speed.

        Args:
            step: after which.
            variables: then.
            before: μ⁰ before that step, if there are bases.
            between: called after each batch.
        """
        start = time.monotonic()
        found = self.tally(variables, between)
        seen = self._look(step, variables, found)
        after, names = self.initial_bases(variables), self._about.class_names
        self._report.evaluated(
            step,
            {name: getattr(found.scores, name) for name in FIGURES},
            self._panel(seen),
            val_iou=dict(zip(names, found.scores.iou.tolist(), strict=True)),
            bases=health(self._unit, found.seen, before, after),
        )
        self.show()
        self._report.pause(time.monotonic() - start)
        return found.scores

    def again(
        self, step: int, variables: Variables, between: Callable[[], None]
    ) -> Scores:
        """Scores of a state that an earlier start has reported, for the page alone."""
        found = self.tally(variables, between)
        self._look(step, variables, found)
        self.show(ended=True)
        return found.scores

    def tally(self, variables: Variables, between: Callable[[], None]) -> Tally:
        """Scores of the split, image for image."""
        return tally(self.validation, variables, between)

    def show(self, *, ended: bool = False) -> None:
        """Write the page of the last evaluation, if there was one."""
        if self._last is not None:
            self._report.page(self._about, self._last, ended=ended)

    def _look(
        self, step: int, variables: Variables, found: Tally
    ) -> Mapping[int, Seen]:
        """The images of the panel, and the typical ones, which the page shows."""
        count = self.validation.num_pictures
        chosen = [*range(count), *found.typical().values()] if count else []
        seen = self.validation.seen(variables, chosen, everywhere=True)
        self._last = Evaluated(step, found, seen)
        return seen

    def _panel(self, seen: Mapping[int, Seen]) -> np.ndarray | None:
        """Image, truth and prediction of the first images, one image a line."""
        first = [i for i in range(self.validation.num_pictures) if i in seen]
        lines = [self.validation.colored(seen[i]) for i in first]
        return panel(lines) if lines else None
