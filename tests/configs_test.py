"""Shipped configs name a model and a data set that exist, and follow the recipe."""

from pathlib import Path

import pytest

from ema_jax import MODELS
from train.configuration.config import load_config, to_json
from train.configuration.limits import check_limits
from train.data import DATASETS
from train.model.build import build_model
from train.model.published import PUBLISHED as PUBLISHED_WEIGHTS
from train.training.length import training_length

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("[a-z]*.py"))
RIVALS = (
    *("fcn", "non_local", "double_attention", "external_attention", "criss_cross"),
    *("hamburger", "deeplabv3", "deeplabv3plus", "psanet"),
)
SMALL = {"shapes", "folder", "camvid"}
LIGHT = {"voc_lite0", "camvid_lite0"}
PUBLISHED = {
    *("default", "voc", "pascal_context", "cocostuff", "cityscapes", "ade20k"),
    *("voc_test_coco", "voc_test_trainaug", "voc_test_trainval"),
}


def load(name, model=None):
    path = str(CONFIGS[0].with_name(f"{name}.py"))
    return load_config(path if model is None else f"{path}:{model}")


def test_all_are_there():
    assert {path.stem for path in CONFIGS} == SMALL | LIGHT | PUBLISHED


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_model_and_data_exist(path):
    config = load_config(str(path))
    check_limits(config)
    assert config.model.name in MODELS
    assert config.data.name in DATASETS


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_sizes_of_the_recipe(name):
    config = load(name)
    assert config.model.name == "emanet_r101"
    assert all(side % 8 == 1 for side in config.data.crop_size)
    assert config.optimizer.learning_rate == 0.009
    assert config.data.scales == (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
    cityscapes = name == "cityscapes"
    assert config.batch_size == (8 if cityscapes else 16)
    assert config.optimizer.ohem_threshold == (0.7 if cityscapes else None)


@pytest.mark.parametrize(
    ("name", "data", "split", "steps"),
    [
        ("voc", "voc2012aug", "trainaug", 30_000),
        ("voc_lite0", "voc2012aug", "trainaug", 30_000),
        ("voc_test_coco", "coco_voc", "train", 150_000),
        ("voc_test_trainaug", "voc2012aug", "trainaug", 30_000),
        ("voc_test_trainval", "voc2012aug", "trainval", 30_000),
        ("pascal_context", "pascal_context", "train", 30_000),
        ("cocostuff", "cocostuff10k", "train", 30_000),
        ("cityscapes", "cityscapes", "train", 80_000),
    ],
)
def test_data_and_length(name, data, split, steps):
    config = load(name)
    assert (config.data.name, config.data.train_split) == (data, split)
    assert config.num_steps == steps


@pytest.mark.parametrize("name", ["folder", "voc_lite0", "camvid_lite0"])
def test_what_starts_from_imagenet_has_weights_and_a_stride_that_fits(name):
    config = load(name)
    model = build_model(config.model, 2)
    assert config.model.pretrained == "imagenet"
    assert model.backbone.imagenet_weights in PUBLISHED_WEIGHTS
    assert all(
        side % model.backbone.output_stride == 1 for side in config.data.crop_size
    )


@pytest.mark.parametrize(
    ("num_images", "num_steps"), [(2, 200), (20, 250), (100, 1_250), (9_000, 3_000)]
)
def test_few_images_of_ones_own_take_few_updates(num_images, num_steps):
    wanted = num_steps, num_steps // 10
    assert training_length(load("folder"), num_images) == wanted


@pytest.mark.parametrize("name", sorted(SMALL | LIGHT | PUBLISHED))
@pytest.mark.parametrize(
    "model",
    [
        *("emanet_r50", "emanet_r152", "emanet_r101_256", "emanet_tiny"),
        *(f"{rival}_{size}" for rival in RIVALS for size in ("r101", "tiny")),
    ],
)
def test_a_model_has_the_recipe_of_emanet(name, model):
    """Only the model differs, and a decoder where the head has none of its own."""
    config, ours = load(name, model).unlock(), load(name)
    assert config.model.name == model
    if model.startswith(("deeplab", "psanet")):
        for field in ("decoder_channels", "coarse_logits"):
            config.model[field] = ours.model[field]
    config.model.name = ours.model.name
    assert to_json(config) == to_json(ours)
