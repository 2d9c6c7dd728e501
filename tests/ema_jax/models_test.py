"""Every model that `MODELS` lists, at its published size."""

import jax
import jax.numpy as jnp
import pytest

from ema_jax import MODELS

PUBLISHED_MILLIONS = {
    "emanet_r50": 34.78,
    "emanet_r101": 53.77,
    "emanet_r152": 69.42,
}


def conv_bn(kernel: int, inputs: int, outputs: int) -> int:
    """Parameters of a convolution without bias and its batch normalisation."""
    return kernel**2 * inputs * outputs + 2 * outputs


def backbone(stage_sizes, width, stem):
    """Trained parameters of a backbone, added up by hand from its description."""
    total, inputs = 0, 3
    for outputs in stem:
        total += conv_bn(3, inputs, outputs)
        inputs = outputs
    for stage, blocks in enumerate(stage_sizes):
        inner = width * 2**stage
        for block in range(blocks):
            total += conv_bn(1, inputs, inner) + conv_bn(3, inner, inner)
            total += conv_bn(1, inner, 4 * inner)
            total += conv_bn(1, inputs, 4 * inner) if block == 0 else 0
            inputs = 4 * inner
    return total


def head(inputs, channels, hidden, num_classes):
    """The same of a head."""
    total = conv_bn(3, inputs, channels)
    total += channels**2 + channels  # conv1 of the unit, with bias
    total += conv_bn(1, channels, channels)
    return total + conv_bn(3, channels, hidden) + (hidden + 1) * num_classes


def emanet(stage_sizes, width, stem_width, channels, hidden, num_classes):
    stem = (stem_width, stem_width, 2 * stem_width)
    total = backbone(stage_sizes, width, stem)
    return total + head(32 * width, channels, hidden, num_classes)


def mmseg(stage_sizes, num_classes):
    total = backbone(stage_sizes, 64, (32, 32, 64))
    total += head(2048, 512, 256, num_classes) + conv_bn(3, 2048 + 256, 256)
    return total + conv_bn(3, 1024, 256) + (256 + 1) * num_classes


EXPECTED = {
    "emanet_r50": emanet((3, 4, 6, 3), 64, 64, 512, 256, 21),
    "emanet_r101": emanet((3, 4, 23, 3), 64, 64, 512, 256, 21),
    "emanet_r152": emanet((3, 8, 36, 3), 64, 64, 512, 256, 21),
    "emanet_r50_256": emanet((3, 4, 6, 3), 64, 64, 256, 256, 21),
    "emanet_r101_256": emanet((3, 4, 23, 3), 64, 64, 256, 256, 21),
    "emanet_r152_256": emanet((3, 8, 36, 3), 64, 64, 256, 256, 21),
    "emanet_r50_mmseg": mmseg((3, 4, 6, 3), 21),
    "emanet_r101_mmseg": mmseg((3, 4, 23, 3), 21),
    "emanet_tiny": emanet((1, 1, 2, 1), 16, 16, 64, 64, 21),
}


def num_parameters(name: str) -> int:
    model = MODELS[name](num_classes=21)
    variables = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jnp.zeros((1, 33, 33, 3)), train=False)
    )
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


@pytest.mark.parametrize("name", MODELS)
def test_parameter_count(name):
    count = num_parameters(name)
    assert count == EXPECTED[name]
    if name in PUBLISHED_MILLIONS:
        assert round(count / 1e6, 2) == PUBLISHED_MILLIONS[name]


def test_the_tiny_model_is_tiny():
    assert num_parameters("emanet_tiny") < 1.5e6
