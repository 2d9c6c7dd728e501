"""Records that cannot be decoded: passed over, counted, and never too many."""

import logging
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from train.data.access import DamagedRecordError, RandomAccess
from train.data.dataset import Dataset
from train.user.errors import UserError

log = logging.getLogger("ema_jax")


class Tolerant:
    """A source in which another example stands for each damaged record.

    Which one depends on the index alone, so that batches are the same for any number
    of threads and processes. Each process counts the records that it meets.

    Args:
        source: raises `DamagedRecordError`.
        max_corrupt: the number of damaged records that may be met.
        instead: index to an example; None: the next record that can be read.
    """

    def __init__(
        self,
        source: RandomAccess,
        max_corrupt: int,
        instead: Callable[[int], Any] | None = None,
    ):
        self._source, self._max_corrupt, self._instead = source, max_corrupt, instead
        self._met: set[int] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Any:
        for candidate in range(index, index + len(self)):
            try:
                return self._source[candidate % len(self)]
            except DamagedRecordError as error:
                self._note(candidate % len(self), error)
            if self._instead is not None:
                return self._instead(index)
        raise UserError("every record is damaged; prepare the data set again")

    def _note(self, index: int, error: DamagedRecordError) -> None:
        """Count a record the first time; UserError where there are too many."""
        with self._lock:
            if index in self._met:
                return
            self._met.add(index)
            count = len(self._met)
        if count > self._max_corrupt:
            raise UserError(
                f"{error}; with it, {count} records are damaged, more than "
                f"config.data.max_corrupt={self._max_corrupt}"
            ) from error
        log.warning("%s; skipped, %d of at most %d", error, count, self._max_corrupt)


def tolerant(
    source: RandomAccess,
    corrupt: str,
    max_corrupt: int,
    instead: Callable[[int], Any] | None = None,
) -> RandomAccess:
    """The source that `config.data.corrupt` asks for: "stop" (as it is), or "skip"."""
    return Tolerant(source, max_corrupt, instead) if corrupt == "skip" else source


class Split(NamedTuple):
    """A split whose images are seen whole.

    Attributes:
        dataset: of which it is one.
        source: its examples.
        sizes: their heights and widths (n, 2).
    """

    dataset: Dataset
    source: RandomAccess
    sizes: np.ndarray


def evaluated_split(
    dataset: Dataset, name: str, corrupt: str = "stop", max_corrupt: int = 0
) -> Split:
    """A split to evaluate: of a damaged record that is passed over no pixel counts."""
    sizes = dataset.sizes(name)

    def blank(index: int) -> dict[str, np.ndarray]:
        height, width = sizes[index]
        return {
            "image": np.zeros((height, width, dataset.channels), np.uint8),
            "label": np.full((height, width), dataset.ignore_label, np.uint8),
        }

    source = tolerant(dataset.source(name), corrupt, max_corrupt, blank)
    return Split(dataset, source, sizes)
