"""Whole networks against PyTorch's golden values, and on canvases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ema_jax import EMANet
from tests.golden import cases
from tests.golden.rebuild import emanet, golden, image, relative_error, variables
from tests.micro import lively
from tests.quick import by_part

MODULES = by_part


@pytest.fixture(scope="module")
def weights():
    """Those of EMANet-50, which no stride changes."""
    return variables(cases.Network())


@pytest.mark.parametrize("output_stride", cases.OUTPUT_STRIDES)
def test_emanet50_equals_pytorch(weights, output_stride):
    network = cases.Network(output_stride=output_stride)
    model = emanet(network)
    size = cases.IMAGE_SIZES[cases.OUTPUT_STRIDES.index(output_stride)]
    logits = jax.jit(model.apply, static_argnames="train")(
        weights, image(size), train=False
    )
    assert logits.shape == (1, *size, network.num_classes)
    step = cases.UPSAMPLED_STEP
    name = f"emanet50/os{output_stride}/{cases.size_name(size)}/upsampled"
    assert relative_error(logits[:, ::step, ::step], golden("emanet")[name]) < 1e-4


@pytest.fixture(scope="module")
def small():
    model = EMANet(
        num_classes=5, stage_sizes=(1, 1, 1, 2), width=8, channels=16, num_bases=4
    )
    return model, lively(model)


def test_images_on_a_canvas_get_what_they_get_alone(small):
    model, weights = small
    apply = jax.jit(model.apply, static_argnames="train")
    sizes = ((33, 65), (65, 41))
    canvas, mask = np.zeros((2, 65, 65, 3), np.float32), np.zeros((2, 65, 65), bool)
    for row, (height, width) in enumerate(sizes):
        canvas[row, :height, :width] = image((height, width))[0]
        mask[row, :height, :width] = True
    together = apply(weights, canvas, train=False, mask=mask)
    for row, (height, width) in enumerate(sizes):
        alone = apply(weights, image((height, width)), train=False)
        np.testing.assert_allclose(
            together[row, :height, :width], alone[0], atol=1e-5, rtol=1e-4
        )


def test_bfloat16_keeps_float32_parameters_and_logits(small):
    _, weights = small
    model = EMANet(
        num_classes=5,
        stage_sizes=(1, 1, 1, 2),
        width=8,
        channels=16,
        num_bases=4,
        dtype=jnp.bfloat16,
    )
    logits, updates = jax.eval_shape(
        lambda x: model.apply(
            weights,
            x,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": jax.random.key(0)},
        ),
        image((33, 33)),
    )
    assert logits.dtype == jnp.float32
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(updates))


def test_errors_name_the_value(small):
    model, weights = small
    with pytest.raises(ValueError, match=r"shape \(33, 33, 3\)"):
        model.apply(weights, jnp.ones((33, 33, 3)), train=False)
    with pytest.raises(ValueError, match="mask has shape"):
        model.apply(
            weights, jnp.ones((1, 33, 33, 3)), train=False, mask=jnp.ones((1, 5, 5))
        )
    with pytest.raises(ValueError, match=r"depth=18.*\(50, 101, 152\)"):
        EMANet(depth=18)
