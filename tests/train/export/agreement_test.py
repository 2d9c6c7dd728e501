"""What is exported says what the network says, by the loaders of the docs."""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ema_jax import Classes, Predictor
from ema_jax.classes import voc_palette
from ema_jax.models import Network
from ema_jax.resize import sizes_of
from ema_jax.views import whole_image
from ema_jax.weights import Description
from tests.docs_test import ROOT, python
from tests.micro import lively
from tests.quick import run
from train.export.command import about, export_network
from train.export.formats import FORMATS
from train.export.stablehlo import serialized
from train.user.errors import UserError

SIZE = (22, 31)
LOADERS = dict(zip(FORMATS, python(ROOT / "docs/export.md"), strict=True))
NEEDS = {"onnx": ("jax2onnx", "onnxruntime"), "tflite": ("litert_converter",)}


@pytest.fixture(scope="module")
def described():
    network = Network("emanet_tiny", 4, {})
    description = Description(network, Classes(tuple("añ木z"), voc_palette(4)))
    return description, lively(network.build())


@pytest.fixture(scope="module")
def images():
    """Of large pixels: a network looks at more than its noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 4, 3))
    large = pixels.repeat(9, axis=1).repeat(9, axis=2)
    return large[:, : SIZE[0], : SIZE[1]].astype(np.uint8)


@pytest.fixture(scope="module")
def logits(described, images):
    """Of the network itself: on a canvas, under a mask, with its statistics."""
    description, variables = described
    predictor = Predictor(description.network.build(), variables)
    below, beside = 33 - SIZE[0], 33 - SIZE[1]
    margins = ((0, 0), (0, below), (0, beside))
    mask = np.pad(np.ones((len(images), *SIZE), bool), margins)
    canvas = np.pad(images, (*margins, (0, 0)))

    def see(variables, canvas, mask):
        normalized = predictor.preprocessing.normalize(canvas, mask)
        return whole_image(predictor.model)(variables, normalized, sizes_of(mask))

    return np.asarray(run(see, variables, canvas, mask))[:, : SIZE[0], : SIZE[1]]


@pytest.fixture(scope="module", params=FORMATS)
def format(request):
    for module in NEEDS.get(request.param, ()):
        pytest.importorskip(module, reason=f"{module} is not installed, as for most")
    return request.param


@pytest.fixture
def load(described, format, tmp_path, monkeypatch):
    """Exports, and runs the loader of the docs, or all of it but the last line."""
    monkeypatch.chdir(tmp_path)

    def call(output: str, images: np.ndarray, *, whole: bool = True) -> dict[str, Any]:
        path, size = f"mine{FORMATS[format].suffix}", f"{SIZE[0]}x{SIZE[1]}"
        said = export_network(
            lambda: described, path, format=format, size=size, output=output
        )
        assert said.startswith(f"{path}: {format}, images 22x31, {output}, ")
        text = LOADERS[format].strip()
        names: dict[str, Any] = {"images": images}
        exec(text if whole else text.rpartition("\n")[0], names)
        return names

    return call


def test_the_logits(load, format, images, logits):
    number = 3 if format == "stablehlo" else 1
    names = load("logits", images[:number], whole=False)
    if format == "onnx":
        [found] = names["session"].run(["logits"], {"images": images[:1]})
    else:
        found = names["found"]["logits"]
    assert found.shape == (number, *SIZE, 4)
    assert np.abs(logits).max() > 1
    np.testing.assert_allclose(found, logits[:number], rtol=0, atol=1e-4)


def test_the_masks(load, format, images, logits):
    names = load("masks", images[:1])
    mask, confidence = np.asarray(names["mask"]), np.asarray(names["confidence"])
    assert (mask.dtype, confidence.dtype) == (np.uint8, np.float32)
    second, first = np.sort(logits[:1])[..., -2:].transpose(3, 0, 1, 2)
    agree = (mask == logits[:1].argmax(axis=-1)) | (first - second < 1e-4)
    assert agree.all()
    assert len(np.unique(mask)) > 1
    shares = np.asarray(jax.nn.softmax(logits[:1])).max(axis=-1)
    np.testing.assert_allclose(confidence, shares, rtol=0, atol=1e-4)


def test_what_is_said_beside_it(described):
    said = json.loads(about(described[0], (22, 31, 3)))
    assert said["classes"] == ["a", "ñ", "木", "z"]
    assert said["palette"] == voc_palette(4).tolist()
    assert (said["size"], said["channels"]) == ([22, 31], 3)
    assert Network(**said["network"]) == described[0].network


def test_a_call_that_jax_does_not_promise_to_keep():
    def program(images):
        row = jax.ShapeDtypeStruct((3,), jnp.uint8)
        return {"mask": images + jax.pure_callback(lambda: np.ones(3, "u1"), row)}

    with pytest.raises(UserError, match=r"^jax.export refuses this network: .*$"):
        serialized(program, (3, 3, 1), ["cpu"])
