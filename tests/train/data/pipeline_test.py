"""Training batches: order and augmentation follow from seed and step alone."""

import time
from itertools import islice

import numpy as np
import pytest

from train.data.pipeline import train_batches

NUM_IMAGES = 13


class Slow:
    """Examples that take turns to be late."""

    def __len__(self):
        return NUM_IMAGES

    def __getitem__(self, index):
        time.sleep(0.002 * (index % 3))
        return {"index": index}


def draw(example, rng):
    return {
        "index": np.array(example["index"]),
        "draw": rng.integers(0, 2**62, 2),
    }


def batches(count, *, source=None, **options):
    """The first batches, as (index, draw, draw) rows."""
    settings = {"global_batch": 4, "seed": 3} | options
    made = train_batches(source or Slow(), draw, **settings)
    return [
        np.column_stack([batch["index"], batch["draw"]])
        for batch in islice(made, count)
    ]


def test_each_epoch_holds_every_image_once_in_a_new_order():
    rows = np.concatenate(batches(13))[:, 0]  # four epochs, across their borders
    epochs = rows.reshape(4, NUM_IMAGES)
    for epoch in epochs:
        assert sorted(epoch) == list(range(NUM_IMAGES))
        assert list(epoch) != list(range(NUM_IMAGES))
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_an_image_is_augmented_anew_each_epoch():
    rows = np.concatenate(batches(13))
    assert len({tuple(draws) for draws in rows[:, 1:]}) == len(rows)


def test_the_same_seed_gives_the_same_batches():
    np.testing.assert_array_equal(batches(7), batches(7))


@pytest.mark.parametrize("seed", [0, 4, 3 + 2**20])
def test_another_seed_gives_another_order_and_other_draws(seed):
    first, other = np.concatenate(batches(7)), np.concatenate(batches(7, seed=seed))
    assert (first[:, 0] != other[:, 0]).any()
    assert not set(first[:, 1]) & set(other[:, 1])


@pytest.mark.parametrize("first_batch", [1, 3, 4, 9])
def test_a_resumed_run_goes_on_where_it_stopped(first_batch):
    whole = batches(first_batch + 4)
    np.testing.assert_array_equal(
        batches(4, first_batch=first_batch), whole[first_batch:]
    )


def test_a_late_start_needs_no_images_before_it():
    class Counting(Slow):
        loaded = 0

        def __getitem__(self, index):
            Counting.loaded += 1
            return super().__getitem__(index)

    batches(1, source=Counting(), first_batch=10_000, num_threads=0, prefetch=0)
    assert Counting.loaded == 4


@pytest.mark.parametrize("process_count", [2, 4])
@pytest.mark.parametrize("first_batch", [0, 2])
def test_processes_together_feed_what_one_feeds(process_count, first_batch):
    shares = [
        batches(
            8,
            first_batch=first_batch,
            process_index=index,
            process_count=process_count,
        )
        for index in range(process_count)
    ]
    assert {share[0].shape for share in shares} == {(4 // process_count, 3)}
    together = [np.concatenate(parts) for parts in zip(*shares, strict=True)]
    np.testing.assert_array_equal(together, batches(8, first_batch=first_batch))


@pytest.mark.parametrize(
    "options", [{"num_threads": 0}, {"num_threads": 7}, {"prefetch": 1}]
)
def test_threads_change_nothing(options):
    np.testing.assert_array_equal(batches(7, **options), batches(7, num_threads=1))


def test_fewer_images_than_a_batch():
    rows = np.concatenate(batches(3, global_batch=26))[:, 0]
    for epoch in rows.reshape(6, NUM_IMAGES):
        assert sorted(epoch) == list(range(NUM_IMAGES))
