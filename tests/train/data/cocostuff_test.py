import zipfile

import numpy as np
import pytest

from train import data
from train.data.cocostuff import SIZES, open_cocostuff10k
from train.user.errors import UserError

SMALL = {"train": 2, "test": 1}
NAMES = {
    "train": ["COCO_train2014_000000000077", "COCO_train2014_000000000127"],
    "test": ["COCO_train2014_000000000064"],
}
NUMBERS = {0: 255, 1: 0, 11: 10, 13: 11, 25: 23, 27: 24, 90: 79, 92: 80, 182: 170}
"""In the files, and the classes they are: across three gaps, and both ends."""


@pytest.fixture
def stuff():
    rows = np.array([*NUMBERS, *[0] * (20 - len(NUMBERS))], np.uint8)
    return np.repeat(rows[:, None], 30, axis=1)


@pytest.fixture
def home(tmp_path, write_photo, write_mat, write_list, stuff):
    """images/, annotations/ and imageLists/, as the archive holds them."""
    home = tmp_path / "data"
    for split, names in NAMES.items():
        write_list(home / f"imageLists/{split}.txt", names)
        for name in names:
            write_photo(home / f"images/{name}.jpg")
            write_mat(home / f"annotations/{name}.mat", "S", stuff)
    return home


def test_numbers_close_up_and_zero_is_ignored(home, stuff, prepare, labels):
    dataset = prepare("cocostuff10k", open_cocostuff10k, home, **SMALL)
    assert dataset.num_classes == 171
    assert [dataset.class_names[c] for c in (0, 79, 80, 170)] == [
        "person",
        "toothbrush",
        "banner",
        "wood",
    ]
    assert set(labels(dataset, "train")) == set(NAMES["train"])
    [label] = labels(dataset, "test").values()
    np.testing.assert_array_equal(label, np.vectorize(NUMBERS.get)(stuff))


def test_the_published_sizes(home, refused):
    assert SIZES == {"train": 9000, "test": 1000}
    message = refused("cocostuff10k", open_cocostuff10k, home, **SIZES)
    assert "split 'train' has 2 images, and the published one 9000" in message


@pytest.mark.parametrize("number", [12, 83, 91, 183])
def test_a_number_that_was_never_annotated(home, refused, write_mat, stuff, number):
    stuff[0, 0] = number
    path = write_mat(home / f"annotations/{NAMES['test'][0]}.mat", "S", stuff)
    message = refused("cocostuff10k", open_cocostuff10k, home, **SMALL)
    assert f"{path}: holds {number}, which is no label" in message


def test_a_damaged_mat_in_the_middle(home, refused):
    path = home / f"annotations/{NAMES['train'][1]}.mat"
    path.write_bytes(path.read_bytes()[:150])
    message = refused("cocostuff10k", open_cocostuff10k, home, **SMALL)
    assert f"{path}: has no readable S" in message


def test_the_archive(tmp_path, home, monkeypatch):
    root = tmp_path / "archives"
    root.mkdir()
    with zipfile.ZipFile(root / "cocostuff-10k-v1.1.zip", "w") as zipped:
        for path in home.rglob("*"):
            zipped.write(path, path.relative_to(home))
    monkeypatch.setitem(
        data.DATASETS, "cocostuff10k", lambda root: open_cocostuff10k(root, SMALL)
    )
    records = str(tmp_path / "records")
    dataset = data.open_dataset("cocostuff10k", root=str(root), data_dir=records)
    assert len(dataset.source("train")) == 2


def test_no_such_layout(tmp_path):
    with pytest.raises(UserError, match=r"put cocostuff-10k-v1\.1\.zip \(from http"):
        open_cocostuff10k(str(tmp_path))
