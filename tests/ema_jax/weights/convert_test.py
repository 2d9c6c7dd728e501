"""State dicts in and out, and every way in which one does not fit."""

import math
from functools import partial

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from ema_jax import MODELS, EMANet
from ema_jax.segmenter import variable_shapes
from ema_jax.weights import (
    check_shapes,
    convert_state_dict,
    export_state_dict,
    fit_variables,
    model_options,
)
from ema_jax.weights.describe import describe
from tests.golden import cases, seeded
from tests.golden.foreign_cases import split_shapes
from tests.golden.rebuild import golden
from tests.golden.rebuild_foreign import state_dict
from tests.quick import by_part

MODULES = by_part

SMALL = cases.Network(
    stage_sizes=(1, 1, 1, 2), base_width=8, channels=16, num_bases=4, num_classes=5
)
RELEASES = {
    "emanet50": cases.Network(),
    "emanet152": cases.Network(cases.STAGE_SIZES[152], channels=256),
    "emanet_conv7": cases.Network((1, 1, 1, 1), stem="conv7", channels=32),
    "emanet_deep64": cases.Network((1, 1, 1, 1), stem="deep64", channels=32),
}
OTHERS = ("mmseg101", "train", "timm_resnet152s", "torchvision_resnet50")


def release(network: cases.Network = SMALL) -> dict[str, np.ndarray]:
    return seeded.state_dict(cases.network_shapes(network))


def numbered(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Weights of which hardly two are the same."""
    return {
        name: np.arange(number, number + math.prod(shape), dtype=np.float32).reshape(
            shape
        )
        for number, (name, shape) in enumerate(shapes.items())
    }


def without(state: dict, prefix: str) -> dict:
    return {name: x for name, x in state.items() if not name.startswith(prefix)}


def shapes(tree: dict) -> dict:
    return {path: leaf.shape for path, leaf in flatten_dict(tree).items()}


def fresh(variables: dict, **options) -> dict:
    """Variables, all -1, of the model that `variables` fit, with other options."""
    model = EMANet(**(model_options(variables) | options))
    image = jax.ShapeDtypeStruct((1, 33, 33, 3), np.float32)
    leaves = jax.eval_shape(
        lambda key, x: model.init(key, x, train=False), jax.random.key(0), image
    )
    return jax.tree.map(lambda leaf: np.full(leaf.shape, -1.0, np.float32), leaves)


def assert_equal(actual: dict, expected: dict) -> None:
    assert actual.keys() == expected.keys()
    for name, x in expected.items():
        np.testing.assert_array_equal(actual[name], x)


@pytest.mark.parametrize("name", [*RELEASES, *OTHERS])
def test_the_round_trip_is_exact(name):
    if name in RELEASES:
        state = numbered(cases.network_shapes(RELEASES[name]))
    else:
        state = numbered(split_shapes(golden("foreign")[f"{name}/shapes"]))
    exported = export_state_dict(convert_state_dict(state))
    assert_equal(exported, without(state, "fc."))
    assert all(x.flags.c_contiguous for x in exported.values())


def test_an_efficientnet_lite_goes_both_ways_without_its_classifier():
    state = numbered(split_shapes(golden("lite")["shapes"]))
    variables = convert_state_dict(state)
    assert model_options(variables) == {"version": 0, "in_channels": 3}
    assert describe(variables) == "an EfficientNet-Lite0 alone"
    for part in ("_conv_head", "_bn1", "_fc"):
        state = without(state, f"{part}.")
    assert_equal(export_state_dict(variables), state)
    check_shapes(variables, variable_shapes(MODELS["deeplabv3_lite0"]()))
    del state["_blocks.3._bn1.weight"]
    state["_blocks.4._depthwise_conv.weight"] = np.ones((239, 1, 5, 5), np.float32)
    with pytest.raises(ValueError, match="does not fit") as caught:
        convert_state_dict(state)
    assert str(caught.value) == (
        "the state dict does not fit; missing: _blocks.3._bn1.weight; of another "
        "shape: _blocks.4._depthwise_conv.weight (239, 1, 5, 5), not (240, 1, 5, 5)"
    )


@pytest.mark.parametrize("part", ["decode_head.conv_cat", "auxiliary_head"])
def test_mmseg_parts_are_optional(part):
    state = without(state_dict("train"), f"{part}.")
    variables = convert_state_dict(state)
    assert model_options(variables)["concat_input"] == (part == "auxiliary_head")
    assert_equal(export_state_dict(variables), state)
    assert shapes(fresh(variables)) == shapes(variables)


def test_options_are_those_of_the_network():
    network = cases.Network(cases.STAGE_SIZES[101])
    state = numbered(cases.network_shapes(network))
    assert model_options(convert_state_dict(state)) == {
        "stage_sizes": (3, 4, 23, 3),
        "in_channels": 3,
        "stem": "deep128",
        "stem_width": 64,
        "width": 64,
        "num_classes": 21,
        "channels": 512,
        "hidden_channels": 256,
        "num_bases": 64,
        "concat_input": False,
        "auxiliary_head": False,
    }


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: {"net": x, "step": 30000},
        lambda x: {"state_dict": x, "meta": {"CLASSES": ("a",)}},
        lambda x: {f"module.{name}": array for name, array in x.items()},
        lambda x: {"net": {f"module.{name}": array for name, array in x.items()}},
        lambda x: x | {"extractor.1.num_batches_tracked": np.array(7)},
        lambda x: {name: array.astype(np.float64) for name, array in x.items()},
    ],
)
def test_wrappers_and_counters_are_dropped(wrap):
    variables = convert_state_dict(wrap(release()))
    assert_equal(export_state_dict(variables), release())
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(variables))


def test_each_problem_is_named():
    state = release()
    del state["extractor.7.1.bn2.weight"]
    state |= {
        "extractor.7.1.se.weight": np.ones(3),
        "epoch": 3,
        "extractor.7.1.conv2.weight": np.ones((64, 32, 3, 3)),
        "fc0.conv.weight": np.ones((17, 256, 3, 3)),
        "emau.conv1.weight": np.ones((16, 16)),
        "emau.mu": np.ones((2, 16, 4)),
        "fc2.bias": np.ones(()),
    }
    del state["fc1.0.conv.weight"]
    with pytest.raises(ValueError, match="does not fit") as caught:
        convert_state_dict(state)
    assert str(caught.value) == (
        "the state dict does not fit; missing: extractor.7.1.bn2.weight, "
        "fc1.0.conv.weight; not understood: epoch, extractor.7.1.se.weight; "
        "of another shape: emau.conv1.weight (16, 16), not (O, I, 1, 1), "
        "emau.mu (2, 16, 4), not (1, C, K), "
        "extractor.7.1.conv2.weight (64, 32, 3, 3), not (64, 64, 3, 3) and 2 more"
    )


def test_a_lost_block_or_head_is_named():
    headless = without(without(release(), "fc"), "emau.")
    with pytest.raises(ValueError, match=r"missing: emau.conv1.bias.* and 17 more$"):
        convert_state_dict(headless)
    with pytest.raises(ValueError, match=r"missing: layer4.0.bn1.bias"):
        convert_state_dict(without(state_dict("timm_resnet50s"), "layer4.0."))


def test_an_unknown_family_is_an_error():
    with pytest.raises(ValueError, match=r"no known family.*\['w'\]"):
        convert_state_dict({"w": np.ones(3)})
    with pytest.raises(ValueError, match="no known family"):
        convert_state_dict({})
    with pytest.raises(ValueError, match=r"no known family.*\['other'\]"):
        convert_state_dict({"other": {"w": np.ones(3)}})
    psp = without(state_dict("train"), "decode_head.ema_")
    with pytest.raises(ValueError, match="no known family"):
        convert_state_dict(psp)


def test_whose_weights_they_are_is_said_and_the_first_leaves():
    variables = convert_state_dict(release())
    with pytest.raises(ValueError, match="do not fit the model") as caught:
        check_shapes(variables, fresh(variables, stage_sizes=(1, 2, 1, 1)))
    assert "missing: batch_stats/backbone/stage2_block2/conv1/bn/mean, " in str(
        caught.value
    )
    assert "not in the model: batch_stats/backbone/stage4_block2/conv1" in str(
        caught.value
    )
    assert str(caught.value).count("stage4_block2") == 3  # of the block's 15 leaves
    assert str(caught.value).endswith(" and 12 more")
    assert (
        "they are of EM attention on a ResNet of 1, 1, 1, 2 blocks, width 8, "
        "5 classes, "
        "and the model is EM attention on a ResNet of 1, 2, 1, 1 blocks, width 8, "
        "5 classes; "
    ) in str(caught.value)


@pytest.mark.parametrize("name", [n for n in MODELS if n.endswith("_tiny")])
def test_every_model_is_described(name):
    text = describe(variable_shapes(MODELS[name](num_classes=7)))
    slot = name.removesuffix("_tiny")
    words = {"emanet": "EM attention", "fcn": "FCN", "psanet": "PSANet"}
    words |= {"deeplabv3": "DeepLabV3 ", "deeplabv3plus": "DeepLabV3+"}
    assert words.get(slot, slot.replace("_", " ").split()[0]).lower() in (
        text.lower().replace("-", " ")
    )
    assert text.endswith(" on a ResNet of 1, 1, 2, 1 blocks, width 16, 7 classes")


def test_a_decoder_is_described_and_found_again():
    options = {"decoder_channels": 8, "coarse_logits": True}
    fcn = variable_shapes(MODELS["fcn_tiny"](num_classes=3, **options))
    assert describe(fcn).startswith("FCN on ")
    emanet = variable_shapes(MODELS["emanet_tiny"](num_classes=3, **options))
    assert model_options(emanet).items() >= options.items()


def test_weights_of_another_model_are_a_short_line():
    given = variable_shapes(MODELS["deeplabv3_tiny"](num_classes=3))
    model = variable_shapes(MODELS["emanet_r101"](num_classes=21))
    with pytest.raises(ValueError, match="they are of DeepLabV3 on a ") as caught:
        check_shapes(given, model)
    assert "and the model is EM attention on a ResNet-101, 21 classes" in str(
        caught.value
    )
    assert len(str(caught.value)) < 1500


def test_another_class_count_drops_the_classifier_on_demand():
    variables = convert_state_dict(release())
    model = fresh(variables, num_classes=7)
    with pytest.raises(
        ValueError,
        match=r"classifier/bias \(5,\), not \(7,\), params/head/classifier/kernel "
        r"\(1, 1, 256, 5\), not \(1, 1, 256, 7\); drop_classifier=True",
    ):
        fit_variables(variables, model)
    fitted = fit_variables(variables, model, drop_classifier=True)
    assert shapes(fitted) == shapes(model)
    for path, leaf in flatten_dict(fitted).items():
        own = flatten_dict(variables)[path]
        np.testing.assert_array_equal(leaf, -1 if "classifier" in path else own)


def test_a_network_without_coarse_logits_starts_one_that_has_them():
    network = partial(MODELS["emanet_tiny"], decoder_channels=8)
    given = variable_shapes(network(num_classes=3))
    model = variable_shapes(network(num_classes=5, coarse_logits=True))
    with pytest.raises(
        ValueError,
        match=r"missing: params/head/coarse_classifier/bias.*drop_classifier=True",
    ):
        check_shapes(given, model)
    check_shapes(given, model, drop_classifier=True)


def test_a_backbone_leaves_the_head():
    variables = convert_state_dict(release())
    backbone = {kind: {"backbone": x["backbone"]} for kind, x in variables.items()}
    fitted = flatten_dict(fit_variables(backbone, fresh(variables)))
    for path, leaf in flatten_dict(variables).items():
        own = path[1] == "backbone"
        np.testing.assert_array_equal(fitted[path], leaf if own else -1)
    head = {kind: {"head": x["head"]} for kind, x in variables.items()}
    with pytest.raises(ValueError, match="missing: batch_stats/backbone"):
        check_shapes(head, fresh(variables))


def test_what_has_no_name_is_not_exported():
    variables = convert_state_dict(release())
    variables["params"]["head"]["extra"] = np.ones(1)
    del variables["params"]["head"]["expand"]["bn"]["scale"]
    with pytest.raises(
        ValueError,
        match=r"missing params/head/expand/bn/scale; .* there: params/head/extra",
    ):
        export_state_dict(variables)
    with pytest.raises(ValueError, match="no EMANet"):
        export_state_dict({"params": {}, "batch_stats": {}})
