"""`export`: one file, and each mistake one line before any work."""

import json
import os
import sys
import zipfile

import jax
import jax.export
import numpy as np
import pytest
from PIL import Image

import main


@pytest.fixture
def export_refused(refused_at_once, workdir):
    def run(out, *changes: str) -> str:
        given = {"--format": "stablehlo", "--size": "40x56"}
        given |= dict(change.split("=") for change in changes)
        options = [f"{name}={value}" for name, value in given.items()]
        return refused_at_once("export", workdir, out, *options)

    return run


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("--format=stablehl", "--format=stablehl is unknown; did you mean 'stablehlo'"),
        ("--format=onnx", "mine.zip is no name for onnx; end it in .onnx"),
        ("--size=40", "--size=40 is no size; give HEIGHTxWIDTH, each from 1 to"),
        ("--size=0x56", "--size=0x56 is no size"),
        ("--size=-8x8", "--size=-8x8 is no size"),
        ("--size=40x99999", "--size=40x99999 is no size"),
        ("--output=mask", "--output=mask is unknown; did you mean 'masks'"),
        ("--checkpoint=7", "7"),
    ],
)
def test_what_cannot_be_written(export_refused, tmp_path, change, said):
    assert said in export_refused(tmp_path / "mine.zip", change)
    assert os.listdir(tmp_path) == []


def test_a_file_that_exists_stays(export_refused, tmp_path):
    path = tmp_path / "mine.zip"
    path.write_text("mine")
    message = export_refused(path)
    assert message == f"{path} exists; choose another name, or remove it"
    assert path.read_text() == "mine"


def test_a_folder_that_does_not(export_refused, tmp_path):
    path = tmp_path / "nowhere/mine.zip"
    message = export_refused(path)
    assert message == f"{path} cannot be written (No such file or directory)"


@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_a_converter_that_is_not_installed(
    export_refused, tmp_path, monkeypatch, format
):
    for module in ("jax2onnx", "onnx", "litert_converter"):
        monkeypatch.setitem(sys.modules, module, None)
    message = export_refused(tmp_path / f"mine.{format}", f"--format={format}")
    assert message.startswith(f"--format={format} needs ")


def test_weights_that_are_not_there(refused_at_once, tmp_path):
    message = refused_at_once(
        "export",
        tmp_path / "none.safetensors",
        tmp_path / "mine.zip",
        "--format=stablehlo",
        "--size=9x9",
    )
    assert "none.safetensors" in message


def test_a_workdir_says_what_predict_does(workdir, folder, tmp_path, capsys):
    path, image = tmp_path / "mine.zip", folder / "data/images/p0.png"
    options = ["--format", "stablehlo", "--size", "40x56"]
    assert main.main(["export", workdir, str(path), *options]) == 0
    assert capsys.readouterr().out.startswith(f"{path}: stablehlo, images 40x56, masks")
    assert os.listdir(tmp_path) == ["mine.zip"]
    with zipfile.ZipFile(path) as file:
        assert json.loads(file.read("about.json"))["classes"] == ["dark", "bright"]
        program = jax.export.deserialize(bytearray(file.read("program.jax")))
    pixels = np.asarray(Image.open(image))[None]
    mask = np.asarray(program.call(pixels)["mask"][0])
    arguments = ["predict", str(image), "--workdir", workdir]
    assert main.main([*arguments, "--output", str(tmp_path / "out")]) == 0
    expected = np.asarray(Image.open(tmp_path / "out/mask/p0.png"))
    np.testing.assert_array_equal(mask, expected)
    with pytest.raises(ValueError, match="Shape mismatch"):
        program.call(pixels[..., :1])
