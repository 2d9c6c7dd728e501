"""A workdir and weights of an earlier version serve on; and serve outside of it.

`golden/workdir.tar.xz` was made by the commit cd8d11d, with one device and the config
in it: 60 steps, then `convert` and `predict`. It scored what `SCORES` says, and ten
steps later what `RESUMED` says.
"""

import json
import re
import subprocess
import tarfile
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import main
from ema_jax import MODELS, Predictor
from ema_jax.classes import voc_palette
from tests.alone import ROOT, run_alone
from tests.micro import MICRO
from train import commands
from train.devices import partition
from train.devices.mesh import make_mesh

SCORES = {"dark": 66.43, "bright": 86.28, "mean": 76.35, "pixel": 89.21}
RESUMED = {"dark": 72.98, "bright": 88.63, "mean": 80.80, "pixel": 91.30}
PIXELS = 40 * 56 + 45 * 37
SIZES = [(24 + 4 * (i % 12), 60 - 3 * (i % 12)) for i in range(20)]

ALONE = """
from functools import partial
import numpy as np
from ema_jax import EMANet, MODELS, Predictor
MODELS["micro"] = partial(
    EMANet, stage_sizes=(1, 1, 1, 1), width=4, stem_width=4, channels=8,
    hidden_channels=8, num_bases=4)
predictor = Predictor.load("model.safetensors", canvas_multiple=64)
images = np.load("images.npz")
masks = {name: predictor(images[name]).mask for name in images}
np.savez("masks.npz", **masks)
print(json.dumps(predictor.classes.to_json()))
"""


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    """The folder in which it lies, where its relative paths lead somewhere."""
    folder = tmp_path_factory.mktemp("kept")
    one_device = make_mesh(jax.devices()[:1])
    with tarfile.open(ROOT / "tests/golden/workdir.tar.xz") as archive:
        archive.extractall(folder / "run", filter="data")
    for name in ("data", "tiny.py", "old.safetensors", "mask"):
        (folder / "run" / name).rename(folder / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "micro", MICRO)
        for module in (partition, commands):
            patch.setattr(module, "make_mesh", lambda **_: one_device)
        patch.chdir(folder)
        yield folder


def run(*arguments: str) -> None:
    assert main.main(arguments) == 0


@pytest.fixture(scope="module")
def pictures(place):
    return write_pictures()


@pytest.fixture(scope="module")
def predicted(pictures) -> Path:
    """The masks of the kept pictures and of the new ones."""
    run("predict", "--workdir=run", "data/images", "more/images", "--output=out")
    return Path("out/mask")


def scores(text: str) -> dict[str, float]:
    """The first number behind each name of a table of scores."""
    return {k: float(v) for k, v in re.findall(r"^(\w+) .*?(\d+\.\d+)", text, re.M)}


def assert_same_scores(text: str, wanted: dict[str, float], pixels: int) -> None:
    """Up to the classes of some pixels, which rounding decides."""
    found = scores(text)
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, abs=300 * pixels / PIXELS), name


def assert_same_masks(folder: Path) -> None:
    for path in Path("mask").iterdir():
        difference = np.asarray(Image.open(folder / path.name)) != Image.open(path)
        assert difference.sum() <= 2


def test_the_workdir_evaluates(capsys):
    run("evaluate", "--workdir=run")
    assert_same_scores(capsys.readouterr().out, SCORES, 2)


def test_the_workdir_predicts(predicted):
    assert_same_masks(predicted)


def test_the_workdir_goes_on(capsys, place):
    copied = place / "copied"
    subprocess.run(["cp", "-r", "run", copied], check=True)
    steps = "--config.num_steps=70"
    run("train", f"--workdir={copied}", "--config=tiny.py", steps)
    said = capsys.readouterr().err
    assert f"resuming {copied} from step 60" in said
    assert_same_scores(said, RESUMED, 40)  # ten steps, each rounding otherwise


def test_the_weights_evaluate_and_predict(capsys):
    weights = ("--weights=old.safetensors", "--config=tiny.py")
    run("evaluate", *weights)
    assert_same_scores(capsys.readouterr().out, SCORES, 2)
    run("predict", *weights, "data/images", "--output=by_weights")
    assert_same_masks(Path("by_weights/mask"))
    predictor = Predictor.load("old.safetensors", model="micro", canvas_multiple=64)
    image = np.asarray(Image.open("data/images/p4.png"))
    found = predictor(image).mask
    assert (found != np.asarray(Image.open("mask/p4.png"))).sum() <= 2


def write_pictures() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Twenty pictures of twelve sizes and their labels, as the trained ones are."""
    images, labels = {}, {}
    for seed, size in enumerate(SIZES):
        rng, name = np.random.default_rng(100 + seed), f"q{seed:02d}"
        blocks = rng.integers(0, 2, (7, 6), np.uint8)
        label = np.kron(blocks, np.ones((16, 16), np.uint8))
        labels[name] = label[: size[0], : size[1]]
        noise = rng.normal(0, 25, (*size, 3))
        bright = labels[name][..., None] * 110 + 70 + noise
        images[name] = np.clip(bright, 0, 255).astype(np.uint8)
        for kind, found in (("images", images), ("labels", labels)):
            Path("more", kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(found[name]).save(Path("more", kind, f"{name}.png"))
    for split in ("train", "val"):
        Path(f"more/{split}.txt").write_text("\n".join(images))
    Path("more/classes.txt").write_text("dark\nbright\n")
    return images, labels


def test_it_serves_where_there_is_jax_flax_and_safetensors_alone(
    pictures, predicted, capsys
):
    """The same masks bit for bit, and the same mIoU to the last digit."""
    images, labels = pictures
    assert len({image.shape for image in images.values()}) == 12
    np.savez("images.npz", **images)
    run("convert", "run", "model.safetensors")
    capsys.readouterr()
    run("evaluate", "--workdir=run", "--config.data.root=more")
    printed = capsys.readouterr().out
    classes = json.loads(run_alone(ALONE))
    assert classes == {"names": ["dark", "bright"], "palette": voc_palette(2).tolist()}

    confusion = np.zeros((2, 2))
    with np.load("masks.npz") as masks:
        for name, label in labels.items():
            mask = np.asarray(Image.open(predicted / f"{name}.png"))
            np.testing.assert_array_equal(masks[name], mask)
            np.add.at(confusion, (label, mask), 1)
    hits = np.diag(confusion)
    iou = hits / (confusion.sum(0) + confusion.sum(1) - hits)
    assert re.search(rf"^mean +{100 * iou.mean():.2f} ", printed, re.M)
    assert 0.5 < iou.mean() < 1
