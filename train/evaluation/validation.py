"""A validation split under one network: its scores, and a few pictures."""

from collections.abc import Callable
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from ema_jax import Preprocessing, Segmenter
from ema_jax.preprocessing import IMAGENET
from train.data.corrupt import Split
from train.devices.mesh import DeviceMesh
from train.evaluation.evaluate import configured_inference, evaluate, predict_images
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
        preprocessing: Preprocessing = IMAGENET,
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
        confusion = evaluate(
            self._inference,
            variables,
            self.split.source,
            self.split.sizes,
            num_classes=self.split.dataset.num_classes,
            between=between,
            **self._options,
        )
        return scores(confusion)

    def panel(self, variables: dict[str, Any]) -> np.ndarray | None:
        """Image, truth and prediction of the first images, one image a line."""
        source, palette = self.split.source, self.split.dataset.palette
        count = min(self.num_pictures, len(source))
        if count < 1:
            return None
        lines = {}
        for index, labels in predict_images(
            self._inference,
            variables,
            source,
            self.split.sizes[:count],
            **self._options,
        ):
            example = source[index]
            truth = colorize(example["label"], palette)
            lines[index] = [example["image"], truth, colorize(labels, palette)]
        return panel([lines[index] for index in sorted(lines)]) if lines else None
