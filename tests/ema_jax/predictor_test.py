"""Pictures of many sizes: each as if it were alone, padded by hand to 8k+1."""

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ema_jax import MODELS, Classes, Predictor, Preprocessing
from tests.micro import NANO, lively

SIZES = [(33, 17), (40, 25), (20, 60), (33, 33), (1, 9)]
CLASSES = Classes(("a", "b", "c", "d"), np.arange(12, dtype=np.uint8).reshape(4, 3))
HALVES = Preprocessing((0.5, 0.4, 0.3), (0.3, 0.25, 0.2))
MODEL = NANO(num_classes=4)
OPTIONS = {"classes": CLASSES, "preprocessing": HALVES, "canvas_multiple": 32}


def picture(size, seed: int) -> np.ndarray:
    """Blocks of colour, so that there is more than one class."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (8, 8, 3), np.uint8)
    return np.kron(blocks, np.ones((8, 8, 1), np.uint8))[: size[0], : size[1]]


@pytest.fixture(scope="module")
def pictures():
    return [picture(size, seed) for seed, size in enumerate(SIZES)]


@pytest.fixture(scope="module")
def variables():
    """Random, so large that no class wins everywhere and EM tells tokens apart."""
    found = lively(MODEL)
    found["params"]["head"]["classifier"]["kernel"] *= 8
    found["params"]["head"]["context"]["conv1"]["kernel"] *= 30
    return found


@pytest.fixture(scope="module")
def predictor(variables):
    return Predictor(MODEL, variables, batch_size=2, **OPTIONS)


@pytest.fixture(scope="module")
def predictions(predictor, pictures):
    return predictor(pictures)


def logits_alone(model, variables, image: np.ndarray) -> np.ndarray:
    """By the network on an array of the picture's own size, padded to 8k+1."""
    height, width = image.shape[:2]
    normalized = (image / 255 - np.array(HALVES.mean)) / np.array(HALVES.std)
    padding = ((0, -(height - 1) % 8), (0, -(width - 1) % 8), (0, 0))
    images = np.pad(normalized, padding).astype(np.float32)[None]
    logits = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, images)
    return np.asarray(logits)[0, :height, :width].astype(np.float64)


def softmax(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(-1, keepdims=True))
    return exponents / exponents.sum(-1, keepdims=True)


def test_each_picture_gets_what_it_gets_alone(variables, pictures, predictions):
    seen = set()
    for image, prediction in zip(pictures, predictions, strict=True):
        logits = logits_alone(MODEL, variables, image)
        wanted = softmax(logits)
        np.testing.assert_array_equal(prediction.mask, np.argmax(logits, axis=-1))
        np.testing.assert_allclose(prediction.confidence, wanted.max(-1), atol=1e-5)
        np.testing.assert_allclose(prediction.probabilities, wanted, atol=1e-5)
        colors = CLASSES.palette[np.argmax(logits, axis=-1)]
        np.testing.assert_array_equal(prediction.color, colors)
        types = prediction.mask.dtype, prediction.confidence.dtype
        assert types == (np.uint8, np.float32)
        seen |= set(np.unique(prediction.mask))
    assert len(seen) > 1


def test_one_picture_is_one_prediction(predictor, pictures, predictions):
    np.testing.assert_array_equal(predictor(pictures[1]).mask, predictions[1].mask)
    [only] = predictor(pictures[1][None])
    np.testing.assert_array_equal(only.mask, predictions[1].mask)
    floats = predictor(pictures[1].astype(np.float64))
    np.testing.assert_array_equal(floats.mask, predictions[1].mask)


def test_probabilities_are_made_when_they_are_asked_for(variables, pictures):
    predictor, asked = Predictor(MODEL, variables, **OPTIONS), []
    make = predictor._inference.probabilities
    predictor._inference.probabilities = lambda *given: asked.append(1) or make(*given)
    prediction = predictor(pictures[0])
    assert asked == []
    assert prediction.probabilities is prediction.probabilities
    assert asked == [1]


def test_progress_is_told(predictor, pictures):
    told = []
    predictor(pictures, progress=lambda done, total: told.append((done, total)))
    assert told == [(n, len(pictures)) for n in range(1, len(pictures) + 1)]


def test_a_mirrored_picture_has_the_mirrored_answer(variables, pictures):
    """With `flip`; the network alone does not know left from right so well."""
    image = pictures[3]
    for flip in (True, False):
        predictor = Predictor(MODEL, variables, flip=flip, **OPTIONS)
        one, other = predictor([image, image[:, ::-1]])
        error = np.abs(one.probabilities - other.probabilities[:, ::-1]).max()
        assert (error < 1e-5) == flip


def test_logits_of_several_scales_are_summed(variables, pictures):
    """Up to a number for each pixel, `log p = mean of log p` over the scales."""
    logs = []
    for scales in ((0.5,), (1.0,), (0.5, 1.0)):
        predictor = Predictor(MODEL, variables, scales=scales, **OPTIONS)
        logs.append(np.log(predictor(pictures[1]).probabilities))
    difference = logs[2] - (logs[0] + logs[1]) / 2
    assert np.ptp(difference, axis=-1).max() < 1e-4
    assert np.abs(logs[0] - logs[1]).max() > 1e-2


def test_the_number_of_iterations(variables, pictures):
    predictor = Predictor(MODEL, variables, num_iters=9, **OPTIONS)
    unit = MODEL.head.context.clone(num_iters=9)
    model = MODEL.clone(head=MODEL.head.clone(context=unit))
    wanted = softmax(logits_alone(model, variables, pictures[0]))
    found = predictor(pictures[0]).probabilities
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    published = softmax(logits_alone(MODEL, variables, pictures[0]))
    assert np.abs(published - wanted).max() > 1e-3


@pytest.mark.parametrize("axes", [("images",), ("images", "rows")])
def test_over_devices(variables, pictures, predictions, axes):
    devices = np.array(jax.devices()[:4]).reshape((4,) if len(axes) == 1 else (2, 2))
    mesh = Mesh(devices, axes)
    sharding = NamedSharding(mesh, PartitionSpec(*axes))
    everywhere = jax.device_put(variables, NamedSharding(mesh, PartitionSpec()))
    predictor = Predictor(MODEL, everywhere, sharding=sharding, batch_size=4, **OPTIONS)
    for found, wanted in zip(predictor(pictures), predictions, strict=True):
        np.testing.assert_array_equal(found.mask, wanted.mask)
        np.testing.assert_allclose(found.confidence, wanted.confidence, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"batch_size": 0}, "batch_size=0; give an integer of at least 1"),
        ({"canvas_multiple": 12}, "canvas_multiple=12 is not a multiple of the output"),
        ({"scales": ()}, r"scales=\(\); give one or more positive numbers"),
        ({"scales": (1.0, -1.0)}, r"scales=\(1.0, -1.0\); give"),
        ({"window": (32, 33)}, r"window=\(32, 33\) does not align .* sides of 8k\+1"),
        ({"num_iters": 0}, "eval_iters=0; give an integer"),
        ({"eval_window": (3, 0)}, r"eval_window=\(3, 0\); give a height and a width"),
        ({"classes": Classes((), CLASSES.palette[:3])}, "3 classes do not fit the m"),
    ],
)
def test_an_option_that_cannot_be(variables, options, wanted):
    with pytest.raises(ValueError, match=wanted):
        Predictor(MODEL, variables, **{**OPTIONS, **options})


def test_variables_of_another_network(variables):
    with pytest.raises(ValueError, match="another shape: params/head/classifier/bias"):
        Predictor(NANO(num_classes=5), variables)


def test_iterations_of_a_network_without_them():
    with pytest.raises(ValueError, match="has no EM attention, but a NonLocal"):
        Predictor(MODELS["non_local_tiny"](num_classes=5), {}, num_iters=3)


def test_what_is_no_picture_is_told(predictor, pictures):
    with pytest.raises(ValueError, match=r"images\[1\] has shape \(33, 17, 1\)"):
        predictor([pictures[0], pictures[0][..., :1]])
    with pytest.raises(ValueError, match="images is empty"):
        predictor([])
