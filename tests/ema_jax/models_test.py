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


def emanet(stage_sizes, width, stem_width, channels, hidden, num_classes):
    """Trained parameters, added up by hand from the description of the network."""
    total = conv_bn(3, 3, stem_width) + conv_bn(3, stem_width, stem_width)
    total += conv_bn(3, stem_width, 2 * stem_width)
    inputs = 2 * stem_width
    for stage, blocks in enumerate(stage_sizes):
        inner = width * 2**stage
        for block in range(blocks):
            total += conv_bn(1, inputs, inner) + conv_bn(3, inner, inner)
            total += conv_bn(1, inner, 4 * inner)
            total += conv_bn(1, inputs, 4 * inner) if block == 0 else 0
            inputs = 4 * inner
    total += conv_bn(3, inputs, channels)
    total += channels**2 + channels  # conv1 of the unit, with bias
    total += conv_bn(1, channels, channels)
    return total + conv_bn(3, channels, hidden) + (hidden + 1) * num_classes


EXPECTED = {
    "emanet_r50": emanet((3, 4, 6, 3), 64, 64, 512, 256, 21),
    "emanet_r101": emanet((3, 4, 23, 3), 64, 64, 512, 256, 21),
    "emanet_r152": emanet((3, 8, 36, 3), 64, 64, 512, 256, 21),
    "emanet_r50_256": emanet((3, 4, 6, 3), 64, 64, 256, 256, 21),
    "emanet_r101_256": emanet((3, 4, 23, 3), 64, 64, 256, 256, 21),
    "emanet_r152_256": emanet((3, 8, 36, 3), 64, 64, 256, 256, 21),
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
