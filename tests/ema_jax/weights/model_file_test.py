"""One file for a trained network of any kind: nothing is lost, mistakes are told."""

import json
from functools import cache, partial

import jax
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from ema_jax import MODELS, Classes, Predictor, Preprocessing
from ema_jax.models import Network
from ema_jax.segmenter import variable_shapes
from ema_jax.weights import Description, load_model, load_torch, save_model
from tests.quick import by_part

MODULES = by_part

CLASSES = Classes(("sky", "sea"), np.array([[1, 2, 3], [40, 50, 60]], np.uint8))
HALVES = Preprocessing((0.5, 0.25, 0.125), (0.5, 1.0, 2.0))
TINY = {"stage_sizes": (1, 1, 1, 1), "width": 4, "stem_width": 4}
SMALL = {"channels": 8, "hidden_channels": 8, **TINY}
NETWORKS = {
    "emanet_tiny": {"num_bases": 4, "dtype": "bfloat16", **SMALL},
    "emanet_r50_mmseg": SMALL,
    "criss_cross_tiny": SMALL,
    "deeplabv3plus_tiny": {"channels": 8, "rates": (1, 2, 3), **TINY},
    "psanet_tiny": {"channels": 8, "map_size": 9, **TINY},
}


@cache
def described(name: str) -> Description:
    return Description(Network(name, 2, NETWORKS[name]), CLASSES, HALVES)


@cache
def variables(name: str) -> dict:
    """Random numbers in the shapes of a network."""
    model = described(name).network.build()
    shapes = variable_shapes(model)
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: np.asarray(rng.standard_normal(leaf.shape, np.float32)), shapes
    )


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, variables("emanet_tiny"), described("emanet_tiny"))
    return path


@pytest.mark.parametrize("name", NETWORKS)
def test_all_of_it_comes_back(name, tmp_path):
    path = tmp_path / "model.safetensors"
    count = save_model(path, variables(name), described(name))
    description, found = load_model(path)
    assert count == len(jax.tree.leaves(variables(name)))
    assert description.network == described(name).network
    assert description.preprocessing == HALVES
    assert description.classes.names == CLASSES.names
    np.testing.assert_array_equal(description.classes.palette, CLASSES.palette)
    same = partial(np.testing.assert_array_equal, strict=True)  # shapes and types too
    jax.tree.map(same, found, variables(name))
    jax.tree.map(same, load_torch(path), variables(name))
    Predictor.load(path)


def test_what_has_published_names_keeps_them(saved):
    assert {"fc0.conv.weight", "emau.mu", "fc2.bias"} <= load_file(saved).keys()


def test_a_predictor_is_all_that_the_file_says(saved):
    predictor = Predictor.load(saved)
    assert predictor.classes.names == ("sky", "sea")
    assert predictor.preprocessing == HALVES
    assert predictor.model.head.context.num_bases == 4
    assert predictor.model.head.context.dtype == jax.numpy.bfloat16


def test_a_file_says_what_its_backbone_expects(tmp_path):
    network = Network("emanet_lite0", 2, {"channels": 8, "hidden_channels": 8})
    model = network.build()
    empty = jax.tree.map(
        lambda leaf: np.zeros(leaf.shape, leaf.dtype), variable_shapes(model)
    )
    path = tmp_path / "model.safetensors"
    save_model(path, empty, Description(network, CLASSES))
    predictor = Predictor.load(path)
    assert predictor.model == model
    assert predictor.preprocessing == model.backbone.preprocessing
    white = np.full((1, 1, 1, 3), 255, np.uint8)
    normalized = predictor.preprocessing.normalize(white, np.ones((1, 1, 1), bool))
    np.testing.assert_allclose(normalized, 1.0, rtol=1e-6)


def test_a_file_of_another_ending(tmp_path):
    path = tmp_path / "model.pth"
    with pytest.raises(ValueError, match=r"model\.pth is no name .* \.safetensors"):
        save_model(path, variables("emanet_tiny"), None)
    assert not path.exists()


def rewritten(path, change) -> None:
    """The same file with other metadata."""
    with safe_open(path, framework="numpy") as file:
        values = json.loads(file.metadata()["ema_jax"])
    save_file(load_file(path), path, {"ema_jax": change(values)})


def with_(*keys, value):
    def change(values) -> str:
        place = values
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        return json.dumps(values)

    return change


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (with_("version", value=2), "the format has version 2, .* up to 1; upgrade it"),
        (with_("version", value="new"), "what it says of its network is damaged"),
        (with_("network", value={}), "what it says of its network is damaged"),
        (with_("classes", "palette", value="red"), "is damaged"),
        (lambda values: "no json", "is damaged .* convert it again"),
        (lambda values: "[1]", "is damaged"),
        (with_("network", "name", value="emanet_r7"), "'emanet_r7' is unknown"),
        (with_("network", "options", "kernel", value="cosine"), "kernel='cosine'"),
        (with_("network", "options", "depht", value=50), "depht=50 is no option of"),
        (with_("network", "name", value="deeplabv3_tiny"), "num_bases=4 is no option"),
        (
            with_("network", "options", "num_bases", value=5),
            "of another shape: .*bases",
        ),
        (with_("network", "num_classes", value=3), "of another shape: .*classifier"),
        (with_("classes", "names", value=["sky"]), "1 names do not fit 2 colours"),
    ],
)
def test_a_description_that_does_not_do(saved, change, wanted):
    rewritten(saved, change)
    with pytest.raises(ValueError, match=wanted) as error:
        Predictor.load(saved)
    assert str(error.value).startswith(f"{saved}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file(saved, share):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"no complete safetensors file|an empty file"):
        Predictor.load(saved)


def test_a_file_that_does_not_say_its_network(saved):
    save_file(load_file(saved), saved)
    with pytest.raises(ValueError, match="does not say which network it holds; name"):
        Predictor.load(saved)
    with pytest.raises(ValueError, match="the weights do not fit the model; "):
        Predictor.load(saved, model="emanet_tiny")
    network = MODELS["emanet_tiny"](num_classes=2, num_bases=4, **SMALL)
    predictor = Predictor.load(saved, model=network, classes=CLASSES)
    assert predictor.classes.names == ("sky", "sea")


def test_a_backbone_has_no_classes(tmp_path):
    path = tmp_path / "backbone.safetensors"
    whole = variables("emanet_tiny")
    backbone = {kind: {"backbone": tree["backbone"]} for kind, tree in whole.items()}
    save_model(path, backbone, None)
    with pytest.raises(ValueError, match="holds a backbone alone, without classes"):
        Predictor.load(path, model="emanet_tiny")
    with pytest.raises(ValueError, match="'emanet_r7' is unknown; choose one of"):
        Predictor.load(path, model="emanet_r7")
