"""A set of many sizes: the batched program equals one program for each image."""

from functools import partial

import jax
import numpy as np
import pytest
from scipy.special import log_softmax

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
WIDE, TALL = [(33, 42), (33, 60)], [(40, 17), (40, 25), (57, 17), (57, 25)]
SIZES = (WIDE + TALL) * 3
"""Of two canvases; the second batch of the wide ones is not full."""
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
    return model, init_variables(model, seed=0)


@pytest.fixture(scope="module")
def alone(network, examples):
    """Logits of each image by itself, padded to 8k+1, without any mask."""
    model, weights = network
    apply = jax.jit(partial(model.apply, train=False))
    found = []
    for item in examples:
        height, width = item["label"].shape
        normalized = (item["image"] / 255 - MEAN) / np.array(IMAGENET.std)
        padding = ((0, -(height - 1) % 8), (0, -(width - 1) % 8), (0, 0))
        logits = apply(weights, np.pad(normalized, padding).astype(np.float32)[None])
        found.append(np.asarray(logits[0, :height, :width], np.float64))
    return found


def by_hand(item, logits) -> tuple[np.ndarray, float]:
    """Confusion and cross-entropy of an image."""
    valid = item["label"] != 255
    truth = item["label"][valid]
    confusion = np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64)
    np.add.at(confusion, (truth, np.argmax(logits, axis=-1)[valid]), 1)
    shares = log_softmax(logits[valid], axis=-1)
    return confusion, -shares[np.arange(len(truth)), truth].sum()


@pytest.mark.parametrize("num_devices", [1, 4])
def test_batched_equals_alone(network, examples, alone, num_devices):
    model, weights = network
    mesh = make_mesh(jax.devices()[:num_devices])
    steps, batching = [], {"batch_size": 4, "canvas_multiple": MULTIPLE}
    inference = Inference(model, sharding=mesh.batch)
    labels = inference.labels_cross_entropy_and_seen

    def counting(variables, images, mask, truth):
        steps.append(images.shape)
        return labels(variables, images, mask, truth)

    inference.labels_cross_entropy_and_seen = counting

    sizes = np.array(SIZES)
    counted = {}
    for counts in evaluate(
        inference, weights, examples, sizes, mesh, num_classes=NUM_CLASSES, **batching
    ):
        for row, index in enumerate(counts.indices):
            if index < 0:
                assert not counts.confusion[row].any()
                assert counts.cross_entropy[row] == 0
            else:
                assert index not in counted
                counted[index] = counts.confusion[row], counts.cross_entropy[row]
    assert sorted(counted) == list(range(len(SIZES)))
    for index, (confusion, loss) in counted.items():
        expected, expected_loss = by_hand(examples[index], alone[index])
        np.testing.assert_array_equal(confusion, expected)
        np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    total = sum(confusion for confusion, _ in counted.values())
    assert np.count_nonzero(total.sum(0)) > 2  # or there was nothing to compare
    canvases = {(4, *canvas_shape(size, MULTIPLE), 3) for size in SIZES}
    assert set(steps) == canvases
    if num_devices > 1:
        return
    found = dict(predict_images(inference, weights, examples, sizes, mesh, **batching))
    assert sorted(found) == list(range(len(SIZES)))
    for index, prediction in found.items():
        np.testing.assert_array_equal(prediction, alone[index].argmax(-1))


def test_what_em_did_is_seen(network, examples, compilations):
    """Of two images on a canvas, against the responsibilities of each alone.

    Another evaluation finds all programs.
    """
    model, weights = network
    chosen = [SIZES.index((57, 17)), SIZES.index((57, 25))]
    mesh = make_mesh(jax.devices()[:1])
    inference = Inference(model, sharding=mesh.batch, watch=True)
    evaluation = partial(
        evaluate,
        inference,
        weights,
        [examples[index] for index in chosen],
        np.array(SIZES)[chosen],
        mesh,
        num_classes=NUM_CLASSES,
        batch_size=4,
        canvas_multiple=MULTIPLE,
    )
    [counts] = evaluation()
    compilations()
    assert len(list(evaluation())) == 1
    assert compilations() == 0
    assert counts.indices == (0, 1, -1, -1)
    for row, index in enumerate(chosen):
        pixels = ((examples[index]["image"] / 255 - MEAN) / STD)[None]
        apply = partial(model.apply, train=False, mutable=["intermediates"])
        _, state = run(apply, weights, pixels.astype(np.float32))
        [z] = state["intermediates"]["head"]["context"]["responsibilities"]
        z = np.asarray(z[0], np.float64)
        entropy = -(z * np.log(z)).sum(1).mean()
        np.testing.assert_allclose(counts.seen["entropy"][row], entropy, rtol=1e-4)
        dead = z.shape[1] - len(set(z.argmax(1)))
        assert counts.seen["dead_bases"][row] == dead


@pytest.mark.parametrize(
    "options", [{"flip": True}, {"scales": (0.5, 1.0)}, {"window": (33, 33)}]
)
def test_what_sees_an_image_twice_is_not_watched(network, options):
    with pytest.raises(ValueError, match=r"^watch=True with "):
        Inference(network[0], watch=True, **options)
