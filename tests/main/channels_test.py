"""Images of other channels and depths, from a training to one file."""

import numpy as np
import pytest
import tifffile
from PIL import Image

import main
from ema_jax import Predictor
from tests.main.files import CONFIG, write_data

SCALE = 12  # so that the brightest value, 3060, fits 12 bits


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two channels of 12 bits in the place of the pictures."""
    root = write_data(tmp_path_factory.mktemp("channels") / "data")
    for path in sorted((root / "images").iterdir()):
        pixels = SCALE * np.asarray(Image.open(path)).astype(np.uint16)
        path.unlink()
        tifffile.imwrite(
            path.with_suffix(".tif"),
            pixels[..., :2],
            photometric="minisblack",
            planarconfig="contig",
        )
    return root


def test_from_a_training_to_one_file(root, tmp_path):
    """What was white in training is white in prediction, whatever is predicted."""
    config = tmp_path / "two.py"
    config.write_text(CONFIG.format(root=str(root), records=str(tmp_path / "records")))
    run, model = tmp_path / "run", tmp_path / "model.safetensors"
    command = ["train", f"--config={config}", f"--workdir={run}"]
    assert main.main([*command, "--config.model.in_channels=2"]) == 0
    assert main.main(["evaluate", f"--workdir={run}"]) == 0
    assert main.main(["convert", str(run), str(model)]) == 0

    dark = tmp_path / "dark.tif"
    pixels = np.minimum(tifffile.imread(root / "images/p0.tif"), 900)
    tifffile.imwrite(dark, pixels, photometric="minisblack", planarconfig="contig")
    masks = []
    for source in (f"--workdir={run}", f"--weights={model}"):
        out = tmp_path / source[2:5]
        command = ["predict", source, str(dark), f"--output={out}"]
        assert main.main([*command, "--confidence"]) == 0
        masks.append(np.asarray(Image.open(out / "confidence/dark.png")))
    predictor = Predictor.load(model, canvas_multiple=64)
    bytes_ = np.round(pixels / 4095 * 255).astype(np.uint8)
    confidence = np.round(255 * predictor(bytes_).confidence)
    for mask in masks:
        assert np.abs(mask - confidence).max() <= 1
