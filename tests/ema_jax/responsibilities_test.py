"""What each basis explains, against EM in float64 loops over the features."""

import jax
import numpy as np
import pytest

from ema_jax import MODELS, Predictor
from ema_jax.preprocessing import IMAGENET
from ema_jax.responsibilities import at_image_size, responsibility_maps
from ema_jax.segmenter import init_variables
from tests.micro import NANO

ITERATIONS, SIZE = 4, (30, 41)
UNIT = NANO(3).head.context.clone(eval_iters=ITERATIONS)
MODEL = NANO(3).clone(head=NANO(3).head.clone(context=UNIT))
IMAGE = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)


@pytest.fixture(scope="module")
def variables():
    """Random, with tokens long enough for EM to tell them apart."""
    found = init_variables(MODEL, seed=0)
    found = jax.tree.map(np.array, found)
    found["params"]["head"]["context"]["conv1"]["kernel"] *= 30
    return found


def by_hand(variables) -> list[np.ndarray]:
    """(h, w, K) after each iteration, of the picture padded to 8k+1 alone."""
    normalized = (IMAGE / 255 - np.array(IMAGENET.mean)) / np.array(IMAGENET.std)
    padded = np.pad(normalized, ((0, 3), (0, 0), (0, 0))).astype(np.float32)
    _, state = jax.jit(
        lambda v, x: MODEL.apply(
            v, x, train=False, capture_intermediates=True, mutable=["intermediates"]
        )
    )(variables, padded[None])
    [x] = state["intermediates"]["head"]["reduce"]["__call__"]
    params = variables["params"]["head"]["context"]["conv1"]
    tokens = np.asarray(x[0], np.float64) @ params["kernel"] + params["bias"]
    bases = variables["batch_stats"]["head"]["context"]["bases"].astype(np.float64)
    maps = []
    for _ in range(ITERATIONS):
        exponents = np.exp(tokens @ bases.T)
        z = exponents / exponents.sum(-1, keepdims=True)
        mean = np.einsum("hwk,hwc->kc", z, tokens) / (1e-6 + z.sum((0, 1)))[:, None]
        bases = mean / (1e-6 + np.linalg.norm(mean, axis=1, keepdims=True))
        maps.append(z)
    return maps


def test_maps_after_each_iteration_on_a_canvas(variables):
    canvas = np.full((1, 57, 65, 3), 255, np.uint8)
    canvas[0, : SIZE[0], : SIZE[1]] = IMAGE
    mask = np.zeros((1, 57, 65), bool)
    mask[0, : SIZE[0], : SIZE[1]] = True

    @jax.jit
    def maps(variables, images, mask):
        normalized = IMAGENET.normalize(images, mask)
        return responsibility_maps(MODEL, variables, normalized, mask)

    found = maps(variables, canvas, mask)
    assert found.shape == (ITERATIONS, 1, 8, 9, 4)
    wanted = np.stack(by_hand(variables))
    np.testing.assert_allclose(found[:, 0, :5, :6], wanted, atol=1e-5)
    assert np.ptp(wanted[-1]) > 1e-2


def test_chosen_bases_at_the_size_of_the_picture(variables):
    predictor = Predictor(MODEL, variables, canvas_multiple=32)
    shapes = []
    found = predictor.responsibilities(
        IMAGE, lambda maps: shapes.append(maps.shape) or [2, 0]
    )
    assert shapes == [(ITERATIONS, 5, 6, 4)]
    assert found.shape == (ITERATIONS, *SIZE, 2)
    coarse = np.stack(by_hand(variables))[..., [2, 0]]
    np.testing.assert_allclose(found[:, ::8, ::8], coarse[:, :4], atol=1e-5)
    between = (coarse[:, 0, 0] + coarse[:, 0, 1]) / 2
    np.testing.assert_allclose(found[:, 0, 4], between, atol=1e-5)


def test_maps_keep_their_corners():
    maps = np.arange(4.0, dtype=np.float32).reshape(2, 2, 1)
    found = np.asarray(at_image_size(maps, (3, 5), 4))[..., 0]
    np.testing.assert_allclose(found[0], [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(found[:, 0], [0, 0.5, 1])


def test_a_network_without_em_attention():
    model = MODELS["fcn_tiny"](num_classes=3)
    with pytest.raises(ValueError, match="has no EM attention, but a NoContext"):
        responsibility_maps(model, {}, np.zeros((1, 9, 9, 3)), np.ones((1, 9, 9), bool))
