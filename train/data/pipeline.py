"""Training batches: the order depends on the seed and the step alone."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import grain
import numpy as np
from numpy.typing import NDArray

from train.data.access import Batch, RandomAccess


@dataclass(frozen=True)
class Shuffled:
    """The examples of a source without end, each epoch in an order of its own.

    grain's `shuffle` takes 30 ms for an epoch of few images, 10 for each of two.
    """

    source: RandomAccess
    seed: int

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: int) -> Any:
        epoch, place = divmod(int(index), len(self.source))
        return self.source[int(order(len(self.source), self.seed, epoch)[place])]


@lru_cache(maxsize=4)  # that of an epoch is asked for by each of its examples
def order(length: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """All indices below `length`, at random."""
    return np.random.default_rng((seed, epoch)).permutation(length)


@dataclass(frozen=True)
class ProcessRows:
    """The rows of every global batch that one process feeds to its devices.

    The processes divide each global batch into consecutive blocks, so the batches and
    the place of every image in them are the same for any number of processes.
    """

    rows: RandomAccess
    global_batch: int
    process_index: int
    process_count: int

    def __len__(self) -> int:
        return len(self.rows) // self.process_count

    def __getitem__(self, index: int) -> Any:
        local_batch = self.global_batch // self.process_count
        batch, row = divmod(int(index), local_batch)
        start = batch * self.global_batch + self.process_index * local_batch
        return self.rows[start + row]


def train_batches(
    source: RandomAccess,
    augment: Callable[[dict, np.random.Generator], Batch],
    *,
    global_batch: int,
    seed: int,
    first_batch: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    num_threads: int = 2,
    prefetch: int = 16,
) -> Iterator[Batch]:
    """Endless batches of augmented examples, shuffled anew each epoch.

    Args:
        source: random access to examples.
        augment: (example, rng) -> arrays of one shape.
        global_batch: examples of a batch over all processes; they must divide it.
        seed: of the order and of the augmentation.
        first_batch: where to begin, to resume.
        process_index, process_count: the share of this process.
        num_threads: decoding threads.
        prefetch: examples kept ready.

    Yields:
        {name: array (global_batch / process_count, ...)}.
    """
    dataset = grain.MapDataset.source(Shuffled(source, seed)).seed(seed)
    rows = ProcessRows(
        dataset.random_map(augment), global_batch, process_index, process_count
    )
    local_batch = global_batch // process_count
    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=prefetch)
    dataset = grain.MapDataset.source(rows)[first_batch * local_batch :]
    return iter(dataset.to_iter_dataset(options).batch(local_batch))
