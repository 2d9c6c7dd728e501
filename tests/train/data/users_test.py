"""A user's own augmentation: called in its place, refused where it returns nonsense."""

import sys
from types import ModuleType

import numpy as np
import pytest

from configs import shapes
from train.data.users import load_augment
from train.training.batches import load_batches
from train.user.errors import UserError

IMAGE, LABEL = np.zeros((6, 8, 3), np.uint8), np.zeros((6, 8), np.uint8)


@pytest.fixture
def mine(monkeypatch):
    """A module of the user's, by the name of mine."""
    module = ModuleType("mine")
    module.bright = lambda i, la, rng: (i + np.uint8(rng.integers(1, 200)), la)
    module.turned = lambda i, la, rng: (np.rot90(i), np.rot90(la))
    module.floats = lambda i, la, rng: (i / 255, la)
    module.smaller = lambda i, la, rng: (i[:3], la)
    module.blurred = lambda i, la, rng: (i, la + np.uint8(7))
    module.fails = lambda i, la, rng: i[99]
    monkeypatch.setitem(sys.modules, "mine", module)


def call(name):
    return load_augment(name, 7)(IMAGE, LABEL, np.random.default_rng(0))


def test_it_is_called(mine):
    assert call("mine:turned")[0].shape == (8, 6, 3)
    assert call("mine:bright")[0].min() > 0
    assert call(None)[0] is IMAGE


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mine:floats", "returns float64; return uint8"),
        ("mine:smaller", r"returns an image \(3, 8, 3\) and labels \(6, 8\)"),
        ("mine:blurred", r"returns labels up to 7; there are 0\.\.6, and 255"),
        ("mine:fails", "fails \\(IndexError: index 99"),
        ("mine:none", "no attribute 'none'"),
        ("nobodys:thing", "No module named 'nobodys'"),
        ("mine", "write MODULE:FUNCTION"),
        ("", "write MODULE:FUNCTION"),
    ],
)
def test_what_it_must_not_do(mine, name, said):
    with pytest.raises(UserError, match=f"config.data.augment='{name}'.*{said}"):
        call(name)


def test_batches_go_on_where_they_were(mine):
    """From the third one on, they are those that were third and fourth before."""
    config = shapes.get_config()
    with config.unlocked():
        config.batch_size = 2
        config.data.crop_size = (9, 9)
    source = [{"image": IMAGE + np.uint8(i), "label": LABEL} for i in range(5)]
    own = load_augment("mine:bright", 7)

    def images(first, count):
        batches = load_batches(config, source, first, (9, 9), own)
        return [next(batches)["image"] for _ in range(count)]

    whole = images(0, 4)
    np.testing.assert_array_equal(whole[2:], images(2, 2))
    assert len({batch.tobytes() for batch in whole}) == 4
