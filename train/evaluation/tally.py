"""An evaluation, image for image."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from train.evaluation.metrics import Scores, scores
from train.evaluation.validation import Validation


@dataclass(frozen=True)
class Tally:
    """The scores of each image of a split, and their confusion matrices summed.

    Attributes:
        confusion: int64 (num_classes, num_classes), the rows are the true classes.
        images: the scores by the index of the image.
        scores: those of the split.
        seen: means over the images of what EM attention did, by name, if that is
            watched; see `Inference`.
    """

    confusion: np.ndarray
    images: Mapping[int, Scores]
    scores: Scores
    seen: Mapping[str, float] = field(default_factory=dict)

    def worst_first(self) -> list[int]:
        """The images by mean IoU, from the lowest; those of no class come last."""
        merits = {index: found.mean_iou for index, found in self.images.items()}
        return sorted(
            merits, key=lambda index: (np.isnan(merits[index]), merits[index])
        )

    def typical(self) -> dict[str, int]:
        """The best, median and worst image by mean IoU, each once, where they have one.

        Example:
            >>> images = {n: scores(np.array([[1, n], [0, 0]])) for n in range(4)}
            >>> Tally(np.zeros((2, 2)), images, images[0]).typical()
            {'best': 0, 'median': 1, 'worst': 3}
        """
        ranked = self.worst_first()[::-1]
        ranked = [i for i in ranked if np.isfinite(self.images[i].mean_iou)]
        places = {"best": 0, "worst": -1, "median": (len(ranked) - 1) // 2}
        chosen = [*places.items()][: len(ranked)]
        return {title: ranked[place] for title, place in sorted(chosen)}


def tally(
    validation: Validation,
    variables: dict[str, Any],
    between: Callable[[], None] = lambda: None,
) -> Tally:
    """Evaluate; all processes together, each has all scores in the end.

    Args:
        validation: a split under a network.
        variables: of the network.
        between: called after each batch.
    """
    count = validation.split.dataset.num_classes
    total, cross_entropy = np.zeros((count, count), np.int64), 0.0
    images: dict[int, Scores] = {}
    seen: dict[str, list[float]] = {}
    for batch in validation.batches(variables):
        rows = zip(batch.indices, batch.confusion, batch.cross_entropy, strict=True)
        for row, (index, confusion, loss) in enumerate(rows):
            if index < 0:
                continue
            total += confusion
            cross_entropy += float(loss)
            images[index] = scores(confusion, loss)
            for name, values in batch.seen.items():
                seen.setdefault(name, []).append(float(values[row]))
        between()
    means = {name: float(np.mean(values)) for name, values in seen.items()}
    return Tally(total, images, scores(total, cross_entropy), means)
