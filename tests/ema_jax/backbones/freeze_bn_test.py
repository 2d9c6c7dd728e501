"""A backbone whose batch normalisation is frozen trains as the one of evaluation."""

from functools import partial

import jax
import numpy as np
import pytest

from ema_jax import layers
from ema_jax.backbones import EfficientNetLite, ResNet, efficientnet_lite

IMAGES = np.zeros((2, 33, 33, 3), np.float32)
RESNET = {"stage_sizes": (1, 1, 1, 1), "width": 4, "stem_width": 4}


def gradient(backbone, variables, *, train):
    """The program of gradients and statistics, as text."""

    def loss(params, statistics, images):
        stages, updates = backbone.apply(
            {"params": params, "batch_stats": statistics},
            images,
            train=train,
            mutable=["batch_stats"],
        )
        return sum((stage.x**2).sum() for stage in stages), updates["batch_stats"]

    def program(variables, images):
        both = jax.value_and_grad(loss, has_aux=True)
        return both(variables["params"], variables["batch_stats"], images)

    return str(jax.make_jaxpr(program)(variables, IMAGES))


@pytest.fixture(autouse=True)
def few_blocks(monkeypatch):
    groups = [group._replace(blocks=1) for group in efficientnet_lite.GROUPS]
    monkeypatch.setattr(efficientnet_lite, "GROUPS", groups)
    # as accelerators have it: a program with one convolution in place of its many taps
    plain = partial(layers.convolve, implementation="xla")
    monkeypatch.setattr(layers, "convolve", plain)


@pytest.mark.parametrize(
    ("backbone", "options"), [(ResNet, RESNET), (EfficientNetLite, {})]
)
def test_training_is_the_program_of_evaluation(backbone, options):
    """Gradients included, and statistics that go out as they came in."""
    plain, key = backbone(**options), jax.random.key(0)
    variables = jax.eval_shape(lambda: plain.init(key, IMAGES, train=False))
    frozen = gradient(backbone(freeze_bn=True, **options), variables, train=True)
    assert frozen == gradient(plain, variables, train=False)
    assert frozen != gradient(plain, variables, train=True)
