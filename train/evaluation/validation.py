"""A validation split under one network: its scores, and a few pictures."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from ema_jax import Preprocessing, Segmenter
from train.data.access import Selection
from train.data.corrupt import Split
from train.devices.mesh import DeviceMesh
from train.evaluation.evaluate import (
    Counts,
    configured_inference,
    evaluate,
    predict_images,
)
from train.evaluation.metrics import Scores, scores
from train.evaluation.pictures import colorize


class Seen(NamedTuple):
    """An image (h, w, C), the index masks (h, w) of truth and prediction, its name."""

    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray
    name: str

    @classmethod
    def of(cls, example: Mapping[str, Any], prediction: np.ndarray) -> "Seen":
        """Of an example of a source; one that could not be read has no name."""
        name = example.get("name", "")
        return cls(example["image"], example["label"], prediction, name)


class Validation:
    """Scores and pictures of a split; compiles once per canvas."""

    def __init__(
        self,
        split: Split,
        model: Segmenter,
        mesh: DeviceMesh,
        evaluation: ConfigDict,
        preprocessing: Preprocessing | None = None,
        *,
        watch: bool = False,
    ):
        """Say what is evaluated how; see `check_evaluation` for what must divide what.

        With `watch` the batches say what EM attention did, where it can be seen.

        Raises:
            UserError: a window that the output stride does not fit.
        """
        self.split, self.num_pictures = split, evaluation.num_pictures
        self._inference = configured_inference(
            evaluation, model, mesh, preprocessing, watch=watch
        )
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

    def pictures(
        self, variables: dict[str, Any], indices: Sequence[int]
    ) -> dict[int, list[np.ndarray]]:
        """Image, truth and prediction of those images of which there are any.

        Each process has the images whose rows it fed.
        """
        found = self.seen(variables, indices, everywhere=False)
        return {index: self.colored(seen) for index, seen in found.items()}

    def colored(self, seen: Seen) -> list[np.ndarray]:
        """An image, its truth and the prediction, as pictures."""
        palette = self.split.dataset.palette
        masks = (colorize(mask, palette) for mask in (seen.truth, seen.prediction))
        return [seen.image, *masks]

    def seen(
        self, variables: dict[str, Any], indices: Sequence[int], *, everywhere: bool
    ) -> dict[int, Seen]:
        """Those images of which there are any, with what is predicted of them.

        Each process has the images whose rows it fed; or all, with `everywhere`.
        """
        source = self.split.source
        chosen = [index for index in dict.fromkeys(indices) if index < len(source)]
        found = predict_images(
            self._inference,
            variables,
            Selection(source, chosen),
            self.split.sizes[chosen],
            everywhere=everywhere,
            **self._options,
        )
        return {
            chosen[place]: Seen.of(source[chosen[place]], labels)
            for place, labels in found
        }
