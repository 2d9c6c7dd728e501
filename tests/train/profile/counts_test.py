"""The costs of the networks against those that were published."""

from functools import cache

import flax.linen as nn
import jax
import pytest

from ema_jax import MODELS
from ema_jax.backbones import Features
from ema_jax.segmenter import variable_shapes
from tests.quick import by_part
from train.profile import counts
from train.profile.counts import INCREMENT, count

NO_POOLING = "deeplabv3plus_r101_no_pooling"


class Stages(nn.Module):
    """In the place of a ResNet: features as large as its, at output stride 8."""

    output_stride: int = 8

    @nn.compact
    def __call__(self, images, *, train, mask=None):
        def features(stride, channels):
            pixels = images[:, ::stride, ::stride, :1]
            return Features(pixels.repeat(channels, axis=-1), mask)

        return tuple(map(features, (4, 8, 8, 8), (256, 512, 1024, 2048)))


@pytest.fixture(scope="module", autouse=True)
def blocks():
    """The parameters of equal blocks are looked up once, and each block is counted."""

    def shapes(model):
        with by_part():
            return variable_shapes(model)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counts, "variable_shapes", shapes)
        yield


@cache
def costs(name, output_stride=8, size=513, batch=1):
    model = MODELS[name](num_classes=21, output_stride=output_stride)
    return count(model, size, batch)


@cache
def costs_of_head(name):
    """As `costs`, without those of the backbone."""
    model = MODELS[name](num_classes=21, output_stride=8)
    return count(model.clone(backbone=Stages()), 513, 1)


def test_a_head_costs_the_same_on_the_features_alone():
    head, whole = costs_of_head("emanet_r101"), costs("emanet_r101")
    for field in ("parameters", "multiply_adds", "outputs"):
        assert getattr(head, field)[1:] == getattr(whole, field)[1:]
    assert head.resizing == whole.resizing


@pytest.mark.parametrize(
    ("name", "multiply_adds", "parameters"),
    [
        ("emanet_r101", 43.1e9, 9.96e6),
        ("emanet_r101_256", 21.0e9, 4.85e6),
        ("deeplabv3_r101", 63.4e9, 15.5e6),
        (NO_POOLING, 84.1e9, 16.3e6),
    ],
)
def test_published_increments(name, multiply_adds, parameters):
    found = costs_of_head(name)
    assert found.multiply_adds.increment == pytest.approx(multiply_adds, rel=0.01)
    assert found.parameters.increment == pytest.approx(parameters, rel=0.01)


def test_published_increment_of_psanet_leaves_out_the_sums_over_the_sources():
    found = costs_of_head("psanet_r101")
    assert found.parameters.increment == pytest.approx(18.5e6, rel=0.01)
    assert found.multiply_adds.increment == pytest.approx(56.3e9, rel=0.05)
    sums = 2 * 33**4 * 512  # two directions, 33² pixels each way, 512 channels
    assert found.multiply_adds.increment - sums == pytest.approx(56.3e9, rel=0.001)


def test_published_backbone():
    found = costs("emanet_r101")
    assert found.multiply_adds.backbone == pytest.approx(189.9e9, rel=0.001)
    assert found.parameters.backbone == pytest.approx(42.62e6, rel=0.001)
    assert found.outputs.backbone / 2**20 == pytest.approx(2603, abs=0.5)


@pytest.mark.parametrize(
    ("name", "output_stride", "multiply_adds"),
    [
        ("emanet_r50", 8, 157.9e9),
        ("emanet_r101", 8, 238.0e9),
        ("emanet_r152", 8, 303.9e9),
        ("emanet_r50", 16, 53.6e9),
        ("emanet_r101", 16, 74.2e9),
        ("emanet_r152", 16, 94.7e9),
    ],
)
def test_published_networks(name, output_stride, multiply_adds):
    found = costs(name, output_stride)
    assert found.multiply_adds.total == pytest.approx(multiply_adds, rel=0.001)
    parameters = {50: 34.78e6, 101: 53.77e6, 152: 69.42e6}[int(name[-3:].strip("r"))]
    assert found.parameters.total == pytest.approx(parameters, rel=0.001)


def test_what_resizing_costs_is_in_no_total():
    """The logits' columns, then their rows: 65² pixels to 513² of 21 classes."""
    assert costs("emanet_r101").resizing == (513 * 65 * 65 + 513 * 513 * 65) * 21


def test_outputs_of_a_head_by_hand():
    """Of 9² pixels: what the 3×3 and the unit put out, then what the rest does."""
    outputs = costs("emanet_tiny", size=65).outputs
    pixels = 4 * 9 * 9
    reduce = 3 * 64  # convolution, BN, ReLU
    unit = 5 * 64  # two convolutions, BN, the ReLU between and the one at the end
    assert outputs.increment == pixels * (reduce + unit)
    assert outputs.classifier == pixels * (3 * 64 + 21)


def test_a_batch_costs_as_much_as_its_images():
    one, three = (costs("emanet_tiny", size=65, batch=batch) for batch in (1, 3))
    assert three.parameters == one.parameters
    for field in ("multiply_adds", "outputs"):
        assert getattr(three, field).total == 3 * getattr(one, field).total
    assert three.resizing == 3 * one.resizing


def test_the_parts_are_all_of_the_parameters():
    """All that is trained at test time: the auxiliary head is not part of a network."""
    model = MODELS["emanet_tiny"](num_classes=21, auxiliary_head=True)
    params = variable_shapes(model)["params"]
    del params["auxiliary_head"]
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert count(model, 33, 1).parameters.total == size
    assert costs("emanet_tiny", size=65).parameters.total == size


def test_every_model_has_its_increment():
    heads = {type(make().head).__name__ for make in MODELS.values()}
    assert heads == INCREMENT.keys()


@pytest.mark.parametrize(
    "name", ["emanet_tiny", "deeplabv3_tiny", "deeplabv3plus_tiny", "psanet_tiny"]
)
def test_every_increment_is_a_part_of_its_head(name):
    model = MODELS[name](num_classes=3)
    params = variable_shapes(model)["params"]["head"]
    assert INCREMENT[type(model.head).__name__].keys() < params.keys()
    assert "classifier" in params.keys() - INCREMENT[type(model.head).__name__].keys()
