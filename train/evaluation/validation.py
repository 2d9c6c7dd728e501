"""A validation split under one network: its scores, and a few pictures."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from ema_jax import Preprocessing, Segmenter
from train.data.access import RandomAccess
from train.data.corrupt import Split
from train.devices.mesh import DeviceMesh
from train.evaluation.evaluate import (
    Counts,
    configured_inference,
    evaluate,
    predict_images,
)
from train.evaluation.metrics import Scores, scores
from train.evaluation.pictures import colorize, panel


class Validation:
    """Scores and pictures of a split; compiles once per canvas."""

    def __init__(
        self,
        split: Split,
        model: Segmenter,
        mesh: DeviceMesh,
        evaluation: ConfigDict,
        preprocessing: Preprocessing | None = None,
    ):
        """Say what is evaluated how; see `check_evaluation` for what must divide what.

        Raises:
            UserError: a window that the output stride does not fit.
        """
        self.split, self.num_pictures = split, evaluation.num_pictures
        self._inference = configured_inference(evaluation, model, mesh, preprocessing)
        self._options = {
            "mesh": mesh,
            "batch_size": evaluation.batch_size,
            "canvas_multiple": evaluation.canvas_multiple,
        }

    def scores(
        self, variables: dict[str, Any], between: Callable[[], None] = lambda: None
    ) -> Scores:
        """Scores over the whole split; `between` is called after each batch."""
        count = self.split.dataset.num_classes
        confusion, loss = np.zeros((count, count), np.int64), 0.0
        for counts in self.batches(variables):
            confusion += counts.confusion.sum(0, dtype=np.int64)
            loss += counts.cross_entropy.sum(dtype=np.float64)
            between()
        return scores(confusion, loss)

    def batches(self, variables: dict[str, Any]) -> Iterator[Counts]:
        """What the images of each batch add to the scores."""
        return evaluate(
            self._inference,
            variables,
            self.split.source,
            self.split.sizes,
            num_classes=self.split.dataset.num_classes,
            **self._options,
        )

    def panel(self, variables: dict[str, Any]) -> np.ndarray | None:
        """Image, truth and prediction of the first images, one image a line."""
        lines = self.pictures(variables, range(self.num_pictures))
        return panel([lines[index] for index in sorted(lines)]) if lines else None

    def pictures(
        self, variables: dict[str, Any], indices: Sequence[int]
    ) -> dict[int, list[np.ndarray]]:
        """Image, truth and prediction of those images of which there are any.

        Each process has the images whose rows it fed.
        """
        source, palette = self.split.source, self.split.dataset.palette
        chosen = [index for index in indices if index < len(source)]
        lines = {}
        for place, labels in predict_images(
            self._inference,
            variables,
            Selection(source, chosen),
            self.split.sizes[chosen],
            **self._options,
        ):
            example = source[chosen[place]]
            truth = colorize(example["label"], palette)
            found = colorize(labels, palette)
            lines[chosen[place]] = [example["image"], truth, found]
        return lines


@dataclass(frozen=True)
class Selection:
    """Some examples of a source."""

    source: RandomAccess
    indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.source[self.indices[index]]
