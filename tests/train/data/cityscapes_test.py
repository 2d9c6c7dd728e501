import cv2
import numpy as np
import pytest

from train.data import cityscapes
from train.data.cityscapes import SIZES, open_cityscapes

SMALL = {"train": 2, "val": 1}
NAMES = {
    "train": ["aachen_000000_000019", "bochum_000000_000313"],
    "val": ["frankfurt_000000_000294"],
}
ROAD, CAR, BICYCLE, PARKING, TRAILER = 7, 26, 33, 9, 30


@pytest.fixture
def ids():
    values = np.zeros((20, 30), np.uint8)
    for row, number in enumerate([ROAD, CAR, BICYCLE, PARKING, TRAILER], start=1):
        values[row] = number
    return values


@pytest.fixture
def train_ids():
    values = np.full((20, 30), 255, np.uint8)
    values[1], values[2], values[3] = 0, 13, 18
    return values


@pytest.fixture
def home(tmp_path, write_photo, ids):
    home = tmp_path / "data"
    for split, names in NAMES.items():
        for seed, name in enumerate(names):
            city = f"{split}/{name.split('_')[0]}"
            write_photo(home / f"leftImg8bit/{city}/{name}_leftImg8bit.png", seed=seed)
            write(home / f"gtFine/{city}/{name}_gtFine_labelIds.png", ids)
            write(home / f"gtFine/{city}/{name}_gtFine_instanceIds.png", ids)
    return home


def write(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), values)


def test_label_ids_become_train_ids(home, train_ids, prepare, labels):
    dataset = prepare("cityscapes", open_cityscapes, home, **SMALL)
    assert dataset.num_classes == 19
    assert [dataset.class_names[c] for c in (0, 13, 18)] == ["road", "car", "bicycle"]
    assert dataset.palette[[0, 13]].tolist() == [[128, 64, 128], [0, 0, 142]]
    assert set(labels(dataset, "train")) == set(NAMES["train"])
    [label] = labels(dataset, "val").values()
    np.testing.assert_array_equal(label, train_ids)


def test_all_train_ids(tmp_path):
    """The table of the authors' scripts; -1, the licence plate, is never drawn."""
    published = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32]
    published += [33]
    path = tmp_path / "a_gtFine_labelIds.png"
    write(path, np.arange(34, dtype=np.uint8)[None])
    wanted = np.full(34, 255)
    wanted[published] = range(19)
    np.testing.assert_array_equal(cityscapes.read_label(path), wanted[None])


def test_train_ids_where_there_are_no_label_ids(home, train_ids, prepare, labels):
    for path in home.rglob("*_labelIds.png"):
        path.unlink()
        end = "_gtFine_labelTrainIds.png"
        write(path.with_name(path.name.replace("_gtFine_labelIds.png", end)), train_ids)
    dataset = prepare("cityscapes", open_cityscapes, home, **SMALL)
    [label] = labels(dataset, "val").values()
    np.testing.assert_array_equal(label, train_ids)


def test_the_published_sizes(home, refused):
    assert SIZES == {"train": 2975, "val": 500}
    message = refused("cityscapes", open_cityscapes, home, **SIZES)
    assert "split 'train' has 2 images, and the published one 2975" in message


def test_a_number_that_is_no_label(home, refused, ids):
    ids[0, 0] = 34
    path = home / "gtFine/val/frankfurt/frankfurt_000000_000294_gtFine_labelIds.png"
    write(path, ids)
    message = refused("cityscapes", open_cityscapes, home, **SMALL)
    assert f"{path}: holds 34, which is no label" in message


def test_a_missing_mask(home, refused):
    [path] = home.rglob("bochum*_labelIds.png")
    path.unlink()
    message = refused("cityscapes", open_cityscapes, home, **SMALL)
    assert f"bochum_000000_000313_leftImg8bit.png: has no {path}; unpack" in message


@pytest.mark.parametrize("folder", ["leftImg8bit", "gtFine"])
def test_no_such_layout(home, refused, folder):
    (home / folder).rename(home / "other")
    message = refused("cityscapes", open_cityscapes, home, **SMALL)
    assert f"{home}: no {folder} below it; put {folder}_trainvaltest.zip" in message
