"""The weights in `weights/` name what anyone sees in two photographs."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.alone import ROOT, run_alone

WEIGHTS = ROOT / "weights/emanet_lite0_voc_part.safetensors"
SEEN = """
import numpy as np
from ema_jax import Predictor
predictor = Predictor.load(WEIGHTS, canvas_multiple=256)
with np.load("photographs.npz") as photographs:
    masks = {name: predictor(photographs[name]).mask for name in photographs}
names = predictor.classes.names
print(json.dumps({k: np.bincount(m.ravel(), minlength=len(names)).tolist()
                  for k, m in masks.items()} | {"names": names}))
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Pixels of each class in both, at half their size, on one canvas."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("seen"))
        photographs = {}
        for name in ("chelsea", "astronaut"):
            image = Image.open(ROOT / f"docs/photographs/{name}.jpg")
            photographs[name] = np.asarray(image.reduce(2))
        np.savez("photographs.npz", **photographs)
        return json.loads(run_alone(f"WEIGHTS = {str(WEIGHTS)!r}\n" + SEEN))


@pytest.mark.parametrize(
    ("photograph", "thing"), [("chelsea", "cat"), ("astronaut", "person")]
)
def test_what_is_not_background_is_the_thing(seen, photograph, thing):
    pixels = np.array(seen[photograph])
    things = pixels[1:]  # without background
    assert seen["names"][1:][things.argmax()] == thing
    assert things.max() > 0.8 * things.sum()
    assert things.max() > 0.2 * pixels.sum()


def test_they_are_small():
    assert WEIGHTS.stat().st_size <= 12 * 2**20
