"""A set of many sizes: the batched program equals one program for each image."""

from functools import partial

import jax
import numpy as np
import pytest

from ema_jax.canvas import canvas_shape
from ema_jax.inference import Inference
from ema_jax.preprocessing import IMAGENET
from ema_jax.segmenter import init_variables
from tests.golden import seeded
from tests.micro import NANO
from tests.quick import run
from train.devices.mesh import make_mesh
from train.evaluation.evaluate import evaluate, predict_images

MEAN, STD = np.array(IMAGENET.mean), np.array(IMAGENET.std)
SIZES = [(height, width) for height in (33, 40, 57) for width in (17, 25, 42, 60)] * 2
MULTIPLE = 32
NUM_CLASSES = 5


def example(index: int) -> dict:
    rng = np.random.default_rng(index)
    size = SIZES[index]
    normalized = seeded.image((1, *size, 3), index)[0]
    pixels = (normalized * STD + MEAN) * 255
    label = rng.integers(0, NUM_CLASSES + 1, size).astype(np.uint8)
    label[label == NUM_CLASSES] = 255
    return {"image": pixels.clip(0, 255).astype(np.uint8), "label": label}


@pytest.fixture(scope="module")
def examples():
    return [example(index) for index in range(len(SIZES))]


@pytest.fixture(scope="module")
def network():
    model = NANO(NUM_CLASSES)
    return model, run(lambda: init_variables(model, seed=0))


@pytest.fixture(scope="module")
def alone(network, examples):
    """Predictions of each image by itself, padded to 8k+1, without any mask."""
    model, weights = network
    apply = jax.jit(partial(model.apply, train=False))
    predictions = []
    for item in examples:
        height, width = item["label"].shape
        normalized = (item["image"] / 255 - MEAN) / np.array(IMAGENET.std)
        padding = ((0, -(height - 1) % 8), (0, -(width - 1) % 8), (0, 0))
        logits = apply(weights, np.pad(normalized, padding).astype(np.float32)[None])
        predictions.append(np.argmax(logits[0, :height, :width], axis=-1))
    return predictions


def confusion_by_hand(examples, predictions) -> np.ndarray:
    total = np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64)
    for item, prediction in zip(examples, predictions, strict=True):
        valid = item["label"] != 255
        np.add.at(total, (item["label"][valid], prediction[valid]), 1)
    return total


@pytest.mark.parametrize("num_devices", [1, 4])
def test_batched_equals_alone(network, examples, alone, num_devices):
    model, weights = network
    mesh = make_mesh(jax.devices()[:num_devices])
    steps, batching = [], {"batch_size": 4, "canvas_multiple": MULTIPLE}
    inference = Inference(model, sharding=mesh.batch)
    labels = inference.labels

    def counting(variables, images, mask):
        steps.append(images.shape)
        return labels(variables, images, mask)

    inference.labels = counting

    sizes = np.array(SIZES)
    confusion = evaluate(
        inference, weights, examples, sizes, mesh, num_classes=NUM_CLASSES, **batching
    )
    np.testing.assert_array_equal(confusion, confusion_by_hand(examples, alone))
    assert np.count_nonzero(confusion.sum(0)) > 2  # or there was nothing to compare
    canvases = {(4, *canvas_shape(size, MULTIPLE), 3) for size in SIZES}
    assert set(steps) == canvases
    if num_devices > 1:
        return
    found = dict(predict_images(inference, weights, examples, sizes, mesh, **batching))
    assert sorted(found) == list(range(len(SIZES)))
    for index, prediction in found.items():
        np.testing.assert_array_equal(prediction, alone[index])
