"""Canvases: every image once, at the top left, with a mask of where it is."""

import math
from dataclasses import replace

import numpy as np
import pytest

from ema_jax.canvas import canvas_shape, place, plan
from train.data.canvas import canvas_batches, fill_canvas


@pytest.fixture
def sizes():
    return np.random.default_rng(0).integers(1, 70, (53, 2))


@pytest.fixture
def examples(sizes):
    rng = np.random.default_rng(1)
    return [
        {
            "image": rng.integers(1, 256, (*size, 3), dtype=np.uint8),
            "label": rng.integers(0, 5, size, dtype=np.uint8),
        }
        for size in sizes
    ]


@pytest.mark.parametrize("multiple", [8, 16, 24])
def test_the_smallest_canvas_that_holds_an_image(multiple):
    for side in range(1, 100):
        wanted = multiple + 1
        while wanted < side:
            wanted += multiple
        assert canvas_shape((side, 1), multiple) == (wanted, multiple + 1)
        assert canvas_shape((1, side), multiple) == (multiple + 1, wanted)


@pytest.mark.parametrize("batch_size", [1, 4, 8, 60])
def test_a_plan_holds_every_image_once(sizes, batch_size):
    batches = plan(sizes, 16, batch_size)
    indices = [i for batch in batches for i in batch.indices if i >= 0]
    assert sorted(indices) == list(range(len(sizes)))
    for batch in batches:
        assert len(batch.indices) == batch_size
        for index in filter(lambda i: i >= 0, batch.indices):
            assert batch.shape == canvas_shape(sizes[index], 16)


def test_only_the_last_batch_of_a_canvas_is_filled_up(sizes):
    batches = plan(sizes, 16, 4)
    for batch, following in zip(batches, [*batches[1:], None], strict=True):
        missing = batch.indices.count(-1)
        assert missing < 4
        assert batch.indices[4 - missing :] == (-1,) * missing
        if missing:
            assert following is None or following.shape != batch.shape


def test_a_plan_is_always_the_same(sizes):
    assert plan(sizes, 16, 4) == plan(sizes.copy(), 16, 4)
    canvases = [batch.shape for batch in plan(sizes, 16, 4)]
    assert canvases == sorted(canvases)


def work(batches, program):
    """Pixels of a plan, and of its programs."""
    canvases = {batch.shape for batch in batches}
    pixels = sum(math.prod(batch.shape) * len(batch.indices) for batch in batches)
    return pixels + program * len(canvases)


@pytest.mark.parametrize("batch_size", [1, 4, 60])
@pytest.mark.parametrize("program", [0, 1000, 10_000, 10**9])
def test_images_share_a_larger_canvas_where_that_is_less_work(
    sizes, batch_size, program
):
    own = plan(sizes, 16, batch_size)
    shared = plan(sizes, 16, batch_size, program=program)
    assert work(shared, program) <= work(own, program)
    canvas = {i: batch.shape for batch in shared for i in batch.indices if i >= 0}
    assert sorted(canvas) == list(range(len(sizes)))
    assert all((sizes[i] <= shape).all() for i, shape in canvas.items())
    assert set(canvas.values()) <= {batch.shape for batch in own}
    if program == 10**9:
        assert set(canvas.values()) == {(65, 81), (81, 65)}  # neither holds the other


@pytest.mark.parametrize("program", [0, 1000, 10_000])
def test_nothing_more_is_gained_by_sharing(sizes, program):
    """No canvas of a plan could take those of a smaller one for less work."""
    batches = plan(sizes, 16, 1, program=program)
    for own in {batch.shape for batch in batches}:
        for host in {batch.shape for batch in batches} - {own}:
            if own[0] <= host[0] and own[1] <= host[1]:
                moved = [
                    replace(batch, shape=host) if batch.shape == own else batch
                    for batch in batches
                ]
                assert work(moved, program) >= work(batches, program)


def test_no_images_no_batches():
    assert plan(np.zeros((0, 2), int), 16, 4) == []
    assert plan(np.zeros((0, 2), int), 16, 4, program=1000) == []


def test_place_fills_around_the_image():
    canvas = place(np.array([[1, 2]]), (2, 3), fill=7)
    np.testing.assert_array_equal(canvas, [[1, 2, 7], [7, 7, 7]])


def test_a_filled_canvas_pixel_by_pixel(examples):
    chosen = [examples[3], {}, examples[5]]
    batch = fill_canvas(chosen, (81, 73))
    assert {name: (x.shape, x.dtype.name) for name, x in batch.items()} == {
        "image": ((3, 81, 73, 3), "uint8"),
        "label": ((3, 81, 73), "uint8"),
        "mask": ((3, 81, 73), "bool"),
    }
    for (row, y, x), real in np.ndenumerate(batch["mask"]):
        height, width = chosen[row].get("label", np.zeros((0, 0))).shape
        assert real == (y < height and x < width)
        if real:
            assert batch["label"][row, y, x] == chosen[row]["label"][y, x]
            assert (batch["image"][row, y, x] == chosen[row]["image"][y, x]).all()
        else:
            assert batch["label"][row, y, x] == 255
            assert not batch["image"][row, y, x].any()


@pytest.mark.parametrize("process_count", [2, 4])
def test_processes_share_every_batch_in_order(examples, sizes, process_count):
    alone = [rows for _, rows in canvas_batches(examples, sizes, 16, 4)]
    shares = []
    for index in range(process_count):
        loaded = canvas_batches(
            examples, sizes, 16, 4, process_index=index, process_count=process_count
        )
        planned, rows = zip(*loaded, strict=True)
        assert list(planned) == plan(sizes, 16, 4)
        shares.append(rows)
    for whole, *parts in zip(alone, *shares, strict=True):
        for name in whole:
            together = np.concatenate([part[name] for part in parts])
            np.testing.assert_array_equal(together, whole[name])


def test_the_threads_do_not_change_the_order(examples, sizes):
    batches = plan(sizes, 16, 4)
    loaded = [
        [rows for _, rows in canvas_batches(examples, sizes, 16, 4, num_threads=n)]
        for n in (0, 1, 5)
    ]
    for planned, *same in zip(batches, *loaded, strict=True):
        wanted = fill_canvas(
            [examples[i] if i >= 0 else {} for i in planned.indices], planned.shape
        )
        for batch in same:
            np.testing.assert_array_equal(batch["image"], wanted["image"])
