"""Networks whose convolutions normalise: the same logits, and nothing to train."""

from contextlib import nullcontext
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ema_jax.fold import fold_batch_norm, normalized_convolutions
from ema_jax.layers import ConvBN
from ema_jax.segmenter import variable_shapes
from tests.golden import seeded
from tests.micro import MICRO, lively

MODULES = nullcontext
"""What is looked at as it runs cannot be one kept program."""


@pytest.mark.parametrize(
    "model",
    [MICRO(num_classes=5), ConvBN(4, 3, bn_epsilon=0.1)],
    ids=["EMANet", "layer"],
)
def test_the_logits_are_the_same(model):
    variables = lively(model)
    mask = np.ones((2, 49, 33), bool)
    mask[1, 33:] = False
    images = seeded.image((2, 49, 33, 3), 0) * mask[..., None]
    folded = jax.jit(partial(fold_batch_norm, model))(variables)
    apply = jax.jit(lambda v: model.apply(v, images, mask=mask, train=False))
    plain = np.asarray(apply(variables))
    np.testing.assert_allclose(apply(folded), plain, atol=1e-5 * np.abs(plain).max())


def test_every_one_is_folded():
    model = MICRO(num_classes=3)
    shapes = variable_shapes(model)
    folded = jax.eval_shape(lambda v: fold_batch_norm(model, v), shapes)
    left = [
        path[-2].key
        for path, _ in jax.tree.leaves_with_path(folded["batch_stats"])
        if path[-1].key == "var"
    ]
    assert left == ["bn"]  # of the unit, behind its second convolution
    norms = len(normalized_convolutions(model)) + 1
    had = jax.tree.leaves_with_path(shapes["batch_stats"])
    assert norms == sum(path[-1].key == "var" for path, _ in had)


def test_nothing_is_left_to_train():
    model = MICRO(num_classes=3)
    shapes = variable_shapes(model)
    folded = jax.eval_shape(lambda v: fold_batch_norm(model, v), shapes)
    images = jnp.zeros((1, 33, 33, 3))
    with pytest.raises(ValueError, match=r"stem_conv1 has its batch norm.* folded in"):
        jax.eval_shape(
            lambda v: model.apply(v, images, train=True, mutable="batch_stats"), folded
        )
