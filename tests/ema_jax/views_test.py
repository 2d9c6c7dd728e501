"""Evaluation of many sizes in one program, against PyTorch one image at a time."""

from functools import partial

import jax
import numpy as np
import pytest

from ema_jax.canvas import place
from ema_jax.resize import sizes_of
from ema_jax.views import (
    align,
    at_scale,
    extent,
    sliding_window,
    whole_image,
)
from tests.golden import cases, seeded
from tests.golden.evaluation_cases import (
    EVALUATION_OVERLAP,
    EVALUATION_SCALES,
    EVALUATION_SIZES,
    EVALUATION_WINDOW,
)
from tests.golden.rebuild import emanet, golden, relative_error, variables
from tests.quick import by_part

MODULES = by_part

CANVAS = (81, 89)
STRIDE = 8


@pytest.fixture(scope="module")
def network():
    """The network, and all images at once on one canvas, with an empty place."""
    weights = variables(cases.TRAIN_NETWORK, gain=cases.TRAIN_GAIN)
    images = [
        seeded.image((1, *size, 3), cases.IMAGE_SEED)[0] for size in EVALUATION_SIZES
    ]
    images.append(np.zeros((0, 0, 3), np.float32))
    sizes = np.array([image.shape[:2] for image in images], np.int32)
    canvas = np.stack([place(image, CANVAS) for image in images])
    return whole_image(emanet(cases.TRAIN_NETWORK)), weights, canvas, sizes


def assert_equals_pytorch(logits, name):
    for row, (height, width) in enumerate(EVALUATION_SIZES):
        actual = cases.sample(np.asarray(logits[row, :height, :width]))
        key = f"{cases.size_name((height, width))}/{name}"
        assert relative_error(actual, golden("evaluation")[key]) < 1e-4
    assert np.isfinite(logits).all()


def test_whole_images(network):
    logits_fn, weights, images, sizes = network
    # What lies outside the images must not matter.
    mask = np.stack([place(np.ones(size, bool), CANVAS) for size in sizes])
    images = np.where(mask[..., None], images, 7)
    np.testing.assert_array_equal(sizes_of(mask), sizes)
    assert_equals_pytorch(jax.jit(logits_fn)(weights, images, sizes), "single")


def test_several_scales_and_mirror_images(network):
    logits_fn, weights, images, sizes = network
    total = sum(
        jax.jit(at_scale(logits_fn, STRIDE, scale, flip=True))(weights, images, sizes)
        for scale in EVALUATION_SCALES
    )
    assert_equals_pytorch(total, "multi_scale")


def test_sliding_windows(network):
    logits_fn, weights, images, sizes = network
    slide = partial(sliding_window, window=EVALUATION_WINDOW)
    logits_fn = slide(logits_fn, overlap=EVALUATION_OVERLAP)
    assert_equals_pytorch(jax.jit(logits_fn)(weights, images, sizes), "window")


SIDES = [(1, 1), (2, 9), (8, 16), (9, 17), (10, 18), (33, 33), (33, 1), (0, 0)]


@pytest.mark.parametrize("stride", [8, 16])
def test_sizes_grow_to_the_next_aligned_ones(stride):
    """The size of an image alone, padded to stride·k + 1; found by counting up."""

    def aligned(side):
        while side % stride != 1 and side > 0:
            side += 1
        return side

    actual = align(np.array(SIDES), stride)
    np.testing.assert_array_equal(actual, [[aligned(n) for n in s] for s in SIDES])


def test_extent_marks_the_top_left():
    mask = np.asarray(extent(np.array(SIDES), (33, 33)))
    for image, (height, width) in zip(mask, SIDES, strict=True):
        assert image[:height, :width].all()
        assert image.sum() == height * width
