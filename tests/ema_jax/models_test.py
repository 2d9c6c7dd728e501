"""Every model that `MODELS` lists, at its published size."""

import dataclasses
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from ema_jax import MODELS
from tests.quick import by_part

MODULES = by_part

KEPT = json.loads((Path(__file__).parents[1] / "golden/models.json").read_text())
"""Name to the attributes that are no defaults, of the models of commit cd8d11d."""

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


LITE = {
    "lite0": ((1, 16), (2, 24), (2, 40), (3, 80), (3, 112), (4, 192), (1, 320)),
    "lite2": ((1, 16), (3, 24), (3, 48), (4, 88), (4, 120), (5, 208), (1, 352)),
}
"""Blocks and channels of each group."""
LITE_KERNELS = (3, 3, 5, 3, 5, 5, 3)


def lite_backbone(groups):
    total, inputs = conv_bn(3, 3, 32), 32
    for index, (blocks, outputs) in enumerate(groups):
        for _ in range(blocks):
            inner = inputs * (6 if index else 1)
            total += conv_bn(1, inputs, inner) if index else 0
            total += LITE_KERNELS[index] ** 2 * inner + 2 * inner
            total += conv_bn(1, inner, outputs)
            inputs = outputs
    return total


def num_unit(context, channels):
    """The same of a context module, with S = 64 slots, or 16 in a tiny network."""
    c = channels
    narrow = {"non_local": c // 2, "double_attention": c // 4, "criss_cross": c // 8}
    n = narrow.get(context, 0)
    return {
        "em": c * c + c + conv_bn(1, c, c),
        "none": 0,
        "non_local": 3 * (c * n + n) + conv_bn(1, n, c),
        "double_attention": 3 * (c * n + n) + conv_bn(1, n, c),
        "external_attention": c * c
        + c
        + 2 * (c // 4 if c < 256 else 64) * c
        + conv_bn(1, c, c),
        "criss_cross": 2 * (c * n + n) + c * c + c + 1,
        "hamburger": c * c + c + conv_bn(1, c, c),
    }[context]


def context_head(context, inputs, channels, hidden, num_classes):
    total = conv_bn(3, inputs, channels) + num_unit(context, channels)
    return total + conv_bn(3, channels, hidden) + (hidden + 1) * num_classes


def pyramid(inputs, channels, *, pooling=True):
    """Of ASPP."""
    total = conv_bn(1, inputs, channels) + 3 * conv_bn(3, inputs, channels)
    total += conv_bn(1, inputs, channels) if pooling else 0
    return total + conv_bn(1, (5 if pooling else 4) * channels, channels)


def decoder(inputs, low, channels):
    """Of DeepLabV3+, beside its pyramid."""
    total = conv_bn(1, inputs, low) + conv_bn(3, low + channels, channels)
    return total + conv_bn(3, channels, channels)


def point_wise(inputs, channels, hidden, map_size):
    """Of PSANet's attention, both directions, and its last 3×3."""
    branch = conv_bn(1, inputs, channels) + conv_bn(1, channels, channels)
    branch += channels * map_size**2
    total = 2 * branch + conv_bn(1, 2 * channels, inputs)
    return total + conv_bn(3, 2 * inputs, hidden)


DEPTHS = {"r50": (3, 4, 6, 3), "r101": (3, 4, 23, 3), "r152": (3, 8, 36, 3)}
BACKBONES = {name: backbone(x, 64, (64, 64, 128)) for name, x in DEPTHS.items()}
BACKBONES["tiny"] = backbone((1, 1, 2, 1), 16, (16, 16, 32))
BACKBONES |= {name: lite_backbone(groups) for name, groups in LITE.items()}
CONTEXTS = {
    **{"emanet": "em", "fcn": "none"},
    **{name: name for name in ("non_local", "double_attention", "external_attention")},
    **{name: name for name in ("criss_cross", "hamburger")},
}


def mmseg(stage_sizes, num_classes):
    total = backbone(stage_sizes, 64, (32, 32, 64)) + conv_bn(3, 2048 + 256, 256)
    total += context_head("em", 2048, 512, 256, num_classes)
    return total + conv_bn(3, 1024, 256) + (256 + 1) * num_classes


def expected(name: str) -> int:
    """Parameters of a model for 21 classes, by its name."""
    family, _, size = name.rpartition("_r" if "_r" in name else "_")
    size = f"r{size}" if "_r" in name else size
    depth, _, variant = size.partition("_")
    if variant == "mmseg":
        return mmseg(DEPTHS[depth], 21)
    light, tiny = size in LITE, size == "tiny"
    inputs, low = (512, 64) if tiny else (2048, 256)
    if light:
        inputs, low = LITE[size][-1][1], 24
    if family in CONTEXTS:
        channels = 256 if light or variant == "256" else 512
        widths = (64, 64) if tiny else (channels, 256)
        head = context_head(CONTEXTS[family], inputs, *widths, 21)
    elif family == "psanet":
        channels, map_size = (64, 13) if tiny else (512, 65)
        if light:
            channels, map_size = 256, 33
        head = point_wise(inputs, channels, channels, map_size) + (channels + 1) * 21
    else:
        channels, low_channels = (64, 12) if tiny else (256, 48)
        if light:
            channels, low_channels = 128, 24
        head = pyramid(inputs, channels, pooling=variant != "no_pooling")
        if family == "deeplabv3plus":
            head += decoder(low, low_channels, channels)
        head += (channels + 1) * 21
    return BACKBONES[depth] + head


@cache
def run_backbone(backbone):
    """Shapes of its variables, and of its features of an image of 33×33."""

    def init():
        images = jnp.zeros((1, 33, 33, 3))
        return backbone.init_with_output(jax.random.key(0), images, train=False)

    stages, variables = jax.eval_shape(init)
    return variables, stages


def run_head(head, stages):
    """Shapes of its variables."""

    def init(stages):
        return head.init(jax.random.key(0), stages, train=False)

    return jax.eval_shape(init, stages)


def num_parameters(name: str) -> int:
    model = MODELS[name](num_classes=21)
    variables, stages = run_backbone(model.backbone)
    parts = [variables, run_head(model.head, stages)]
    if model.auxiliary_head is not None:
        parts.append(run_head(model.auxiliary_head, stages))
    return sum(leaf.size for part in parts for leaf in jax.tree.leaves(part["params"]))


@pytest.mark.parametrize("name", MODELS)
def test_parameter_count(name):
    count = num_parameters(name)
    assert count == expected(name)
    if name in PUBLISHED_MILLIONS:
        assert round(count / 1e6, 2) == PUBLISHED_MILLIONS[name]


def test_every_rival_is_there():
    rivals = {*CONTEXTS, "deeplabv3", "deeplabv3plus", "psanet"}
    sizes = ("r50", "r101", "tiny", "lite0", "lite2")
    assert {f"{rival}_{size}" for rival in rivals for size in sizes} <= MODELS.keys()


def test_published_increments():
    """What the heads add without their classifiers, as the EMANet paper counts."""
    less = {
        "emanet_r101": conv_bn(3, 512, 256) + 257 * 21,
        "emanet_r101_256": conv_bn(3, 256, 256) + 257 * 21,
        "deeplabv3_r101": 257 * 21,
        "deeplabv3plus_r101_no_pooling": 257 * 21,
        # its last 3×3 reads the features of the backbone too, as any head's
        "psanet_r101": conv_bn(3, 2048, 512) + 513 * 21,
    }
    millions = {
        name: (num_parameters(name) - BACKBONES["r101"] - rest) / 1e6
        for name, rest in less.items()
    }
    published = (9.96, 4.85, 15.5, 16.3, 18.5)
    for (name, actual), wanted in zip(millions.items(), published, strict=True):
        assert abs(actual / wanted - 1) < 0.005, name


@pytest.mark.parametrize("name", MODELS)
def test_one_backbone_for_all_of_a_size(name):
    """So the weights of an ImageNet backbone fit a rival where they fit EMANet."""
    size = next(size for size in BACKBONES if f"_{size}" in name)
    ours = f"emanet_{size}_mmseg" if "mmseg" in name else f"emanet_{size}"
    assert MODELS[name]().backbone == MODELS[ours]().backbone


def test_light_heads_follow_their_output_stride():
    assert MODELS["emanet_lite0"]().backbone.output_stride == 16
    assert MODELS["emanet_lite0"](output_stride=8).backbone.output_stride == 8
    assert MODELS["deeplabv3_lite0"]().head.rates == (6, 12, 18)
    assert MODELS["psanet_lite0"](output_stride=8).head.map_size == 65


@pytest.mark.parametrize("name", [name for name in MODELS if "tiny" in name])
def test_the_tiny_models_are_tiny(name):
    assert num_parameters(name) < 1.7e6


@pytest.mark.parametrize("name", ["deeplabv3_tiny", "deeplabv3plus_tiny"])
def test_every_tap_of_a_tiny_pyramid_meets_pixels_of_a_crop(name):
    """Of 97×97, that `shapes` trains on; other taps would keep their random init."""
    model = MODELS[name](num_classes=21)
    assert max(model.head.rates) < -(-97 // model.backbone.output_stride)


def told(module: nn.Module, path: str = "") -> Iterator[tuple[str, str]]:
    """Path and value of all attributes that are not the default of their class."""
    yield path, type(module).__name__
    for field in dataclasses.fields(module):
        value = getattr(module, field.name)
        place = f"{path}.{field.name}"
        if isinstance(value, nn.Module):
            yield from told(value, place)
        elif field.name not in ("parent", "name") and value != field.default:
            yield place, str(value)


@pytest.mark.parametrize("name", KEPT)
def test_a_name_builds_what_it_always_built(name):
    assert dict(told(MODELS[name](num_classes=5))) == KEPT[name]
