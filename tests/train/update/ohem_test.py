"""Online hard example mining: a float64 sort of the batch, ties, devices, the step."""

from functools import partial

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest

from tests.quick import run
from train.devices.mesh import make_mesh, to_devices
from train.update.losses import segmentation_loss
from train.update.ohem import hard_pixels, kth_largest
from train.update.state import init_state
from train.update.step import make_train_step

SHAPE = (8, 5, 6, 4)
"""Images, height, width, classes."""

STATIC = ("pixel_mean", "ohem_threshold", "ohem_min_kept")
loss_of = jax.jit(segmentation_loss, static_argnames=STATIC)
with_gradient = jax.jit(jax.value_and_grad(segmentation_loss), static_argnames=STATIC)


@pytest.fixture
def logits():
    """The second half of the batch is much harder: quotas per image would differ."""
    values = np.random.default_rng(0).normal(0, 2, SHAPE)
    values[..., 1] += 3
    return values.astype(np.float32)


@pytest.fixture
def labels():
    values = np.random.default_rng(1).integers(0, 4, SHAPE[:3])
    values[:4] = 1
    values[2:6, :2] = 255
    return values.astype(np.uint8)


def reference(logits, labels, threshold, min_kept, pixel_mean):
    """Loss and gradient in float64: sort all valid pixels, keep the least probable."""
    logits = logits.astype(np.float64)
    share = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    valid = [pixel for pixel in np.ndindex(labels.shape) if labels[pixel] != 255]
    own = {pixel: share[pixel][labels[pixel]] for pixel in valid}
    order = sorted(valid, key=own.get)
    kept = order[:min_kept] + [p for p in order[min_kept:] if own[p] < threshold]
    count = labels.size if pixel_mean == "all" else max(1, len(kept))
    gradient = np.zeros_like(logits)
    for pixel in kept:
        gradient[pixel] = (share[pixel] - np.eye(4)[labels[pixel]]) / count
    return sum(-np.log(own[p]) for p in kept) / count, gradient, len(kept)


@pytest.mark.parametrize(
    ("threshold", "min_kept", "pixel_mean"),
    [
        (0.7, 0, "valid"),
        (0.7, 20, "all"),
        (0.01, 40, "valid"),
        (0.7, 999, "all"),
    ],
)
def test_loss_and_gradient(logits, labels, threshold, min_kept, pixel_mean):
    wanted, wanted_gradient, kept = reference(
        logits, labels, threshold, min_kept, pixel_mean
    )
    assert min_kept == 999 or kept < np.sum(labels != 255)
    loss, gradient = with_gradient(
        logits,
        labels,
        pixel_mean=pixel_mean,
        ohem_threshold=threshold,
        ohem_min_kept=min_kept,
    )
    np.testing.assert_allclose(loss, wanted, rtol=1e-5)
    np.testing.assert_allclose(gradient, wanted_gradient, rtol=1e-4, atol=1e-8)


def test_off_is_the_plain_loss(logits, labels):
    plain = loss_of(logits, labels)
    every = loss_of(logits, labels, ohem_threshold=1.0)
    np.testing.assert_allclose(every, plain, rtol=1e-6)
    assert float(loss_of(logits, labels, ohem_min_kept=3)) == float(plain)


def test_nothing_but_ignored_pixels(logits):
    labels = np.full(SHAPE[:3], 255, np.uint8)
    loss, gradient = with_gradient(
        logits, labels, pixel_mean="valid", ohem_threshold=0.7, ohem_min_kept=20
    )
    assert float(loss) == 0
    np.testing.assert_array_equal(gradient, np.zeros(SHAPE))


def test_ignored_pixels_do_not_fill_the_quota():
    loss = np.array([9.0, 8.0, 0.1, 0.2], np.float32)
    valid = np.array([False, False, True, True])
    kept = run(partial(hard_pixels, threshold=0.5, min_kept=1), loss, valid)
    assert kept.tolist() == [False, False, False, True]


compiled_kth_largest = jax.jit(kth_largest)


@pytest.mark.parametrize("k", [1, 2, 3, 7, 50, 99, 100])
def test_kth_largest_is_exact(k):
    rng = np.random.default_rng(k)
    values = np.exp(rng.normal(0, 20, 100)).astype(np.float32)
    values[::3] = values[0]  # ties
    values[1], values[2] = 0, np.inf
    found = compiled_kth_largest(values, np.ones(100, bool), k)
    assert float(found) == np.sort(values)[-k]
    assert float(compiled_kth_largest(values, np.arange(100) < k, k + 1)) == 0


class Classifier(nn.Module):
    """The smallest network that has what a step updates."""

    @nn.compact
    def __call__(self, images, *, train):
        x = nn.BatchNorm(use_running_average=not train)(images)
        return nn.Conv(4, (1, 1))(x)


def test_the_step_mines_the_whole_batch(labels):
    """Over eight devices, each of which has one image."""
    batch = {
        "image": np.random.default_rng(2).integers(0, 256, (*SHAPE[:3], 3), np.uint8),
        "label": labels,
        "mask": np.ones(SHAPE[:3], bool),
    }
    model, optimizer = Classifier(), optax.sgd(0.0)
    mesh = make_mesh(jax.devices())
    state = run(lambda: init_state(model, optimizer, seed=0))
    step = make_train_step(
        model, optimizer, mesh, pixel_mean="valid", ohem_threshold=0.1, ohem_min_kept=30
    )
    placed = to_devices(batch, mesh.batch)
    variables = jax.device_get(state.variables)
    _, metrics = step(state, placed)

    images = (batch["image"] / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    apply = partial(model.apply, train=True, mutable=["batch_stats"])
    logits, _ = run(apply, variables, images.astype(np.float32))
    wanted, _, kept = reference(np.asarray(logits), labels, 0.1, 30, "valid")
    assert 30 <= kept < 40
    np.testing.assert_allclose(metrics.loss, wanted, rtol=1e-5)
    plain, _, _ = reference(np.asarray(logits), labels, 1.0, 0, "valid")
    assert metrics.loss > plain * 1.2
