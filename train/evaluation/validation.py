"""A validation split under one network: its scores, and a few pictures."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from ema_jax import Segmenter
from train.data import Dataset
from train.data.corrupt import tolerant
from train.devices.mesh import check_batch_size
from train.evaluation.evaluate import (
    configured_inference,
    evaluate,
    predict_images,
)
from train.evaluation.metrics import Scores, scores
from train.evaluation.pictures import colorize, panel
from train.user.errors import UserError


class Validation:
    """Scores and pictures of `config.data.val_split`; compiles once per canvas."""

    def __init__(
        self, config: ConfigDict, dataset: Dataset, model: Segmenter, mesh: Mesh
    ):
        """Open the split.

        Raises:
            UserError: a batch that the devices do not divide, or a canvas that the
                output stride does not.
        """
        options = config.evaluation
        check_batch_size(options.batch_size, mesh, "config.evaluation.batch_size")
        stride = model.backbone.output_stride
        if options.canvas_multiple < 1 or options.canvas_multiple % stride:
            raise UserError(
                f"config.evaluation.canvas_multiple={options.canvas_multiple} is not "
                f"a multiple of the output stride, {stride}"
            )
        self.dataset = dataset
        self.num_pictures = options.num_pictures
        self._sizes = dataset.sizes(config.data.val_split)
        self._source = tolerant(
            dataset.source(config.data.val_split),
            config.data.get("corrupt", "stop"),  # a checkpoint's config may be older
            config.data.get("max_corrupt", 0),
            self._blank,
        )
        self._inference = configured_inference(options, model, mesh)
        self._mesh = mesh
        self._batching = {
            "batch_size": options.batch_size,
            "canvas_multiple": options.canvas_multiple,
        }

    def _blank(self, index: int) -> dict[str, np.ndarray]:
        """An example of which no pixel counts."""
        height, width = self._sizes[index]
        return {
            "image": np.zeros((height, width, 3), np.uint8),
            "label": np.full((height, width), self.dataset.ignore_label, np.uint8),
        }

    def scores(
        self, variables: dict[str, Any], between: Callable[[], None] = lambda: None
    ) -> Scores:
        """Scores over the whole split; `between` is called after each batch."""
        confusion = evaluate(
            self._inference,
            variables,
            self._source,
            self._sizes,
            self._mesh,
            num_classes=self.dataset.num_classes,
            between=between,
            **self._batching,
        )
        return scores(confusion)

    def panel(self, variables: dict[str, Any]) -> np.ndarray | None:
        """Image, truth and prediction of the first images, one image a line."""
        count = min(self.num_pictures, len(self._source))
        if count < 1:
            return None
        palette = self.dataset.palette
        lines = {}
        for index, labels in predict_images(
            self._inference,
            variables,
            self._source,
            self._sizes[:count],
            self._mesh,
            **self._batching,
        ):
            example = self._source[index]
            truth = colorize(example["label"], palette)
            lines[index] = [example["image"], truth, colorize(labels, palette)]
        return panel([lines[index] for index in sorted(lines)]) if lines else None
