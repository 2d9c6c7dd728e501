"""Small real files: photographs and masks as annotation tools write them."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import cv2
import jax
import numpy as np
import optax
import pytest
import scipy.io
from PIL import Image

from configs import shapes
from ema_jax import Segmenter
from ema_jax.heads import FCNHead
from ema_jax.inference import Inference
from tests.micro import ThreeConvolutions
from tests.quick import run
from train.data import open_dataset
from train.data.dataset import open_named
from train.data.users import load_augment
from train.devices.mesh import make_mesh, to_devices
from train.evaluation.evaluate import evaluate
from train.training.batches import load_batches
from train.update.state import init_state
from train.update.step import make_train_step
from train.user.errors import UserError

Write = Callable[..., Path]


def _photo(path: Path, size: tuple[int, int] = (20, 30), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), cv2.GaussianBlur(noise, (0, 0), 3))
    return path


def _palette_mask(path: Path, indices: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(indices.astype(np.uint8))
    image.putpalette(np.arange(768, dtype=np.uint8)[::-1].tobytes())
    assert image.mode == "P"
    image.save(path)
    return path


@pytest.fixture
def write_photo() -> Write:
    """(path, size=(20, 30), seed=0) -> path of an image in the suffix's format."""
    return _photo


@pytest.fixture
def write_mask() -> Write:
    """(path, indices) -> path of a palette PNG."""
    return _palette_mask


@pytest.fixture
def indices() -> np.ndarray:
    """A mask (20, 30) of classes 0, 1, 2 with a 255 border around class 1."""
    mask = np.zeros((20, 30), np.uint8)
    mask[3:12, 4:15] = 255
    mask[5:10, 6:13] = 1
    mask[15:, 20:] = 2
    return mask


@pytest.fixture
def write_mat() -> Write:
    """(path, name, value) -> path of a MATLAB file that holds one variable."""

    def write(path: Path, name: str, value) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        scipy.io.savemat(path, {name: value}, do_compression=True)
        return path

    return write


@pytest.fixture
def write_list() -> Write:
    """(path, names) -> path of a list file."""

    def write(path: Path, names) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{name}\n" for name in names))
        return path

    return write


@pytest.fixture
def prepare(tmp_path):
    """(name, opener, root, **sizes) -> the data set, prepared below tmp_path."""

    def prepare_named(name, opener, root, **sizes):
        openers = {name: partial(opener, sizes=sizes)}
        records = str(tmp_path / "records")
        return open_named(name, openers, root=str(root), data_dir=records)

    return prepare_named


@pytest.fixture
def open_root(tmp_path, root):
    """(**options) -> the data set `folder` of the test's `root`."""

    def run(**options):
        records = str(tmp_path / "records")
        return open_dataset("folder", root=str(root), data_dir=records, **options)

    return run


CLASSES = 12
"""Of the network, whose programs serve every data set with as many or fewer."""


@cache
def network(channels: int):
    """A small network, its state, its training step, and its inference."""
    model = Segmenter(
        ThreeConvolutions(0.9, channels),
        FCNHead(CLASSES, hidden_channels=8, stage=1, dropout_rate=0.0),
    )
    optimizer = optax.sgd(0.01)
    mesh = make_mesh(jax.devices()[:1])
    state = run(lambda: init_state(model, optimizer, 0))
    step = jax.jit(make_train_step(model, optimizer, mesh))  # which keeps the state
    return step, state, Inference(model, sharding=mesh.batch), mesh


@pytest.fixture(scope="session")
def trains():
    """(data set) -> pixels that an evaluation counts, after two steps of training."""

    def trains(dataset):
        assert dataset.num_classes <= CLASSES
        step, state, inference, mesh = network(dataset.channels)
        config = shapes.get_config()
        with config.unlocked():
            config.batch_size, config.data.crop_size = 1, (17, 17)
        as_it_is = load_augment(None, dataset.num_classes)
        source = dataset.source("train")
        batches = load_batches(config, source, 0, (17, 17), as_it_is)
        for _ in range(2):
            batch = to_devices(next(batches), mesh.batch)
            state, metrics = step(state, batch)
            assert np.isfinite(metrics.loss)
        counts = evaluate(
            inference,
            state.variables,
            dataset.source("val"),
            dataset.sizes("val"),
            mesh,
            num_classes=CLASSES,
            batch_size=1,
            canvas_multiple=32,
        )
        labelled = slice(dataset.num_classes)
        return sum(batch.confusion[:, labelled].sum() for batch in counts)

    return trains


@pytest.fixture
def refused(tmp_path, prepare):
    """Like `prepare`, but returns the one line it fails with, and left nothing."""

    def message(*arguments, **sizes):
        with pytest.raises(UserError) as error:
            prepare(*arguments, **sizes)
        assert list((tmp_path / "records").rglob("*")) == []
        assert "\n" not in str(error.value)
        return str(error.value)

    return message


@pytest.fixture
def labels():
    """(data set, split) -> labels by name."""

    def by_name(dataset, split):
        source = dataset.source(split)
        examples = [source[index] for index in range(len(source))]
        return {example["name"]: example["label"] for example in examples}

    return by_name
