"""The loss: hand-computed values, and a float64 loop over the pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.quick import run
from train.update import losses
from train.update.losses import segmentation_loss

SHAPE = (2, 3, 5, 4)
"""Images, height, width, classes."""

loss_of = jax.jit(segmentation_loss, static_argnames="pixel_mean")
with_gradient = jax.jit(
    jax.value_and_grad(segmentation_loss), static_argnames="pixel_mean"
)


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(0, 3, SHAPE).astype(np.float32)


@pytest.fixture
def labels():
    """Some pixels are ignored, more of them in the second image."""
    values = np.random.default_rng(1).integers(0, 4, SHAPE[:3])
    values[0, 0, :2] = 255
    values[1, 1:, :] = 255
    return values.astype(np.uint8)


def probabilities(pixel):
    exponentials = np.exp(pixel.astype(np.float64))
    return exponentials / exponentials.sum()


def loss_and_gradient(logits, labels, pixel_mean):
    """Both by a loop over the pixels, from the definition."""
    loss, gradient = 0.0, np.zeros(logits.shape)
    valid = [pixel for pixel in np.ndindex(labels.shape) if labels[pixel] != 255]
    count = labels.size if pixel_mean == "all" else len(valid)
    for pixel in valid:
        share = probabilities(logits[pixel])
        loss -= np.log(share[labels[pixel]]) / count
        gradient[pixel] = (share - np.eye(logits.shape[-1])[labels[pixel]]) / count
    return loss, gradient


@pytest.mark.parametrize("pixel_mean", ["all", "valid"])
def test_loss_and_gradient_follow_the_definition(logits, labels, pixel_mean):
    loss, gradient = with_gradient(logits, labels, pixel_mean=pixel_mean)
    wanted_loss, wanted_gradient = loss_and_gradient(logits, labels, pixel_mean)
    np.testing.assert_allclose(loss, wanted_loss, rtol=1e-6)
    np.testing.assert_allclose(gradient, wanted_gradient, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize(
    ("pixel_mean", "wanted"),
    [("all", np.log(4 * 4 / 3) / 4), ("valid", np.log(4 * 4 / 3) / 2)],
)
def test_hand_computed(pixel_mean, wanted):
    """Logits (0, ln 3) are the probabilities 1/4 and 3/4; two of four pixels count."""
    logits = np.array([0.0, np.log(3.0)], np.float32) * np.ones((2, 1, 2, 1), "f4")
    labels = np.array([[[0, 1]], [[255, 255]]], np.uint8)
    loss = loss_of(logits, labels, pixel_mean=pixel_mean)
    np.testing.assert_allclose(loss, wanted, rtol=1e-6)


def test_all_pixels_is_the_mean_over_images_of_the_mean_over_pixels(logits, labels):
    each = [loss_of(logits[i : i + 1], labels[i : i + 1]) for i in range(SHAPE[0])]
    np.testing.assert_allclose(loss_of(logits, labels), np.mean(each), rtol=1e-6)


@pytest.mark.parametrize("pixel_mean", ["all", "valid"])
def test_nothing_but_ignored_pixels(logits, pixel_mean):
    labels = np.full(SHAPE[:3], 255, np.uint8)
    loss, gradient = with_gradient(logits, labels, pixel_mean=pixel_mean)
    assert float(loss) == 0
    np.testing.assert_array_equal(gradient, np.zeros(SHAPE))


def test_an_ignored_pixel_cannot_spoil_the_others(logits, labels):
    spoilt = np.where((labels == 255)[..., None], np.float32("inf"), logits)
    loss, gradient = with_gradient(spoilt, labels, pixel_mean="all")
    wanted, wanted_gradient = with_gradient(logits, labels, pixel_mean="all")
    np.testing.assert_array_equal(loss, wanted)
    np.testing.assert_array_equal(gradient, wanted_gradient)
    terms = {"cross_entropy": 1.0, "dice": 1.0}  # also without a gradient
    alone, beside = (loss_of(x, labels, terms=terms) for x in (logits, spoilt))
    np.testing.assert_array_equal(beside, alone)


def test_low_precision_logits_are_summed_in_float32(logits, labels):
    rounded = jnp.asarray(logits, jnp.bfloat16)
    loss = loss_of(rounded, labels)
    wanted, _ = loss_and_gradient(np.asarray(rounded, np.float64), labels, "all")
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, wanted, rtol=1e-6)


def test_each_pixel_by_itself(logits, labels):
    weights = np.random.default_rng(2).normal(size=labels.shape)
    classes = np.where(labels == 255, 0, labels)

    def total(logits):
        pixels = losses.see_pixels(logits, jnp.asarray(classes), None)
        return jnp.sum(losses._negative_log(pixels) * weights)

    loss, gradient = run(jax.value_and_grad(total), logits)
    shares = np.array([probabilities(p) for p in logits.reshape(-1, 4)])
    own = np.eye(4)[classes.ravel()]
    wanted = -weights.ravel() * np.log((shares * own).sum(-1))
    np.testing.assert_allclose(loss, wanted.sum(), rtol=1e-5)
    wanted_gradient = (shares - own) * weights.reshape(-1, 1)
    np.testing.assert_allclose(gradient.reshape(-1, 4), wanted_gradient, atol=1e-6)
