"""Losses for unequal classes: float64 loops from the papers, and batches in pieces."""

from functools import partial

import jax
import numpy as np
import pytest

from tests.quick import compiled
from train.update.losses import segmentation_loss

SHAPE = (4, 3, 5, 4)
"""Images, height, width, classes."""
WEIGHTS = (0.5, 2.0, 1.0, 4.0)


@pytest.fixture(scope="module")
def logits():
    return np.random.default_rng(0).normal(0, 2, SHAPE).astype(np.float32)


@pytest.fixture(scope="module")
def labels():
    """The first image has two classes, the last no labelled pixel."""
    values = np.random.default_rng(1).integers(0, 4, SHAPE[:3])
    values[0] %= 2
    values[1:3, 1] = 255
    values[3] = 255
    return values.astype(np.uint8)


def softmax(logits):
    share = np.exp(logits.astype(np.float64))
    return share / share.sum(-1, keepdims=True)


def by_pixel(logits, labels, of_pixel, weights, pixel_mean):
    """Mean over the pixels of `of_pixel(probabilities, class)`."""
    share = softmax(logits)
    valid = [pixel for pixel in np.ndindex(labels.shape) if labels[pixel] != 255]
    total = sum(of_pixel(share[pixel], labels[pixel]) for pixel in valid)
    if pixel_mean == "all":
        return total / labels.size
    return total / sum(weights[labels[pixel]] for pixel in valid)


def by_region(logits, labels, of_region):
    """Mean over images and their classes of `of_region(probabilities, truth)`."""
    losses = []
    for probabilities, label in zip(softmax(logits), labels, strict=True):
        valid = label != 255
        for c in np.unique(label[valid]):
            losses.append(of_region(probabilities[valid][:, c], label[valid] == c))
    return np.mean(losses)


def smooth_cross_entropy(share, label, epsilon=0.1):
    """PyTorch's, as its documentation says it."""
    loss = -WEIGHTS[label] * (1 - epsilon) * np.log(share[label])
    return loss - sum(epsilon / 4 * np.multiply(WEIGHTS, np.log(share)))


def focal(share, label, gamma=1.5):
    return -WEIGHTS[label] * (1 - share[label]) ** gamma * np.log(share[label])


def dice(share, truth):
    return 1 - 2 * (share * truth).sum() / (share.sum() + truth.sum())


def lovasz(share, truth):
    """The extension of 1 - IoU, each value of the set function from its sets."""
    error = np.where(truth, 1 - share, share)
    wrong, loss, before = np.zeros(len(truth), bool), 0.0, 0.0
    for pixel in np.argsort(-error):
        wrong[pixel] = True
        predicted = truth ^ wrong
        value = 1 - (truth & predicted).sum() / (truth | predicted).sum()
        loss, before = loss + error[pixel] * (value - before), value
    return loss


OPTIONS = {
    "cross_entropy": {"class_weights": WEIGHTS, "label_smoothing": 0.1},
    "focal": {"class_weights": WEIGHTS, "gamma": 1.5},
    "dice": {},
    "lovasz": {},
}
OF_PIXELS = {"cross_entropy": smooth_cross_entropy, "focal": focal}
OF_REGIONS = {"dice": dice, "lovasz": lovasz}


def reference(name, logits, labels, pixel_mean):
    if name in OF_REGIONS:
        return by_region(logits, labels, OF_REGIONS[name])
    return by_pixel(logits, labels, OF_PIXELS[name], WEIGHTS, pixel_mean)


@pytest.fixture(scope="module")
def program(logits, labels):
    """Loss and gradient of a loss: compiled once."""
    kept = {}

    def run(name, pixel_mean, *arrays):
        if (name, pixel_mean) not in kept:
            options = {"terms": {name: 1.0}, "pixel_mean": pixel_mean, **OPTIONS[name]}
            function = jax.value_and_grad(partial(segmentation_loss, **options))
            kept[name, pixel_mean] = compiled(function, logits, labels)
        return jax.device_get(kept[name, pixel_mean](*arrays))

    return run


@pytest.mark.parametrize("pixel_mean", ["all", "valid"])
@pytest.mark.parametrize("name", OPTIONS)
def test_value_and_gradient(name, pixel_mean, logits, labels, program):
    loss, gradient = program(name, pixel_mean, logits, labels)
    wanted = partial(reference, name, labels=labels, pixel_mean=pixel_mean)
    np.testing.assert_allclose(loss, wanted(logits), rtol=2e-6)
    direction = np.random.default_rng(2).normal(size=SHAPE)
    exact = logits.astype(np.float64)
    step = 1e-6 * direction
    slope = (wanted(exact + step) - wanted(exact - step)) / 2e-6
    np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-5)
    assert not gradient[labels == 255].any()


@pytest.mark.parametrize("name", OPTIONS)
def test_nothing_labelled_and_nothing_certain(name, logits, labels, program):
    nothing = np.full_like(labels, 255)
    endless = np.full_like(logits, np.inf)
    for arrays in ((logits, nothing), (endless, nothing)):
        loss, gradient = program(name, "valid", *arrays)
        assert loss == 0
        assert not gradient.any()
    spoilt = np.where((labels == 255)[..., None], np.float32("inf"), logits)
    loss, gradient = program(name, "valid", spoilt, labels)
    expected = program(name, "valid", logits, labels)
    np.testing.assert_array_equal(loss, expected[0])
    np.testing.assert_array_equal(gradient, expected[1])
    sure = 200 * np.eye(4, dtype=np.float32)[np.where(labels == 255, 0, labels)]
    loss, gradient = program(name, "valid", sure, labels)
    assert name == "cross_entropy" or loss < 1e-6  # which is smoothed
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("terms", [{"cross_entropy": 1, "dice": 0.5}, {"lovasz": 2}])
def test_the_mean_over_pieces_is_that_of_the_batch(terms, logits, labels):
    """Though the pieces hold unlike numbers of pixels and of classes."""
    loss = jax.jit(
        partial(
            segmentation_loss,
            terms=terms,
            pixel_mean="valid",
            class_weights=WEIGHTS,
        )
    )
    halves = [(logits[rows], labels[rows]) for rows in (slice(2), slice(2, 4))]
    pieces = [loss(*half, whole=labels) for half in halves]
    alone = [loss(*half) for half in halves]
    wanted = float(loss(logits, labels))
    np.testing.assert_allclose(np.mean(pieces), wanted, rtol=1e-6)
    assert abs(np.mean(alone) - wanted) > 1e-3
