"""The backbone against PyTorch's golden values, and on canvases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from ema_jax import ResNet
from ema_jax.weights.emanet import emanet_table
from ema_jax.weights.table import to_jax
from tests.golden import cases, seeded
from tests.golden.rebuild import golden, image, relative_error
from tests.quick import by_part

MODULES = by_part


def backbone(stem: str, output_stride: int) -> tuple[ResNet, dict]:
    """Our backbone of a golden case, and its weights."""
    network = cases.Network(
        stage_sizes=cases.RESNET_STAGE_SIZES,
        stem=stem,
        output_stride=output_stride,
        base_width=cases.RESNET_BASE_WIDTH,
    )
    state = seeded.state_dict(cases.backbone_shapes(network), seed=cases.WEIGHT_SEED)
    leaves = {
        (target.path[0], *target.path[2:]): to_jax(state[name], target.layout)
        for name, target in emanet_table(state).items()
        if name in state
    }
    model = ResNet(
        stage_sizes=network.stage_sizes,
        output_stride=output_stride,
        stem=stem,
        width=network.base_width,
    )
    return model, unflatten_dict(leaves)


@pytest.mark.parametrize("output_stride", cases.OUTPUT_STRIDES)
@pytest.mark.parametrize("stem", cases.STEM_CHANNELS)
def test_equals_pytorch(stem, output_stride):
    model, variables = backbone(stem, output_stride)
    # One size for each stride keeps the compilations few; each stem sees both.
    size = cases.IMAGE_SIZES[cases.OUTPUT_STRIDES.index(output_stride)]
    prefix = f"{stem}/os{output_stride}/{cases.size_name(size)}"
    stages = jax.jit(model.apply, static_argnames="train")(
        variables, image(size), train=False
    )
    for number, stage in enumerate(stages, start=1):
        expected = golden("resnet")[f"{prefix}/stage{number}"]
        assert stage.x.shape == tuple(golden("resnet")[f"{prefix}/stage{number}_shape"])
        assert relative_error(cases.sample(np.asarray(stage.x)), expected) < 1e-4


@pytest.mark.parametrize("output_stride", cases.OUTPUT_STRIDES)
def test_an_image_on_a_canvas_gets_what_it_gets_alone(output_stride):
    model, variables = backbone("deep128", output_stride)
    apply = jax.jit(model.apply, static_argnames="train")
    small = image((49, 33))
    canvas = np.zeros((1, 65, 65, 3), np.float32)
    canvas[:, :49, :33] = small
    mask = np.zeros((1, 65, 65), bool)
    mask[:, :49, :33] = True
    alone = apply(variables, small, train=False)
    for stage, expected in zip(
        apply(variables, canvas, train=False, mask=mask), alone, strict=True
    ):
        _, height, width, _ = expected.x.shape
        assert int(stage.mask.sum()) == height * width
        np.testing.assert_allclose(
            stage.x[:, :height, :width], expected.x, atol=1e-5, rtol=1e-5
        )


@pytest.mark.parametrize("option", [{"stem": "deep"}, {"output_stride": 4}])
def test_errors_name_the_value(option):
    (name, value) = next(iter(option.items()))
    with pytest.raises(ValueError, match=f"{name}={value!r}"):
        ResNet(**option).init(jax.random.key(0), jnp.ones((1, 33, 33, 3)), train=False)
