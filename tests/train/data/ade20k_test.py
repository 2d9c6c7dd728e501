import zipfile

import cv2
import numpy as np
import pytest

from train import data
from train.data.ade20k import SIZES, open_ade20k
from train.user.errors import UserError

SMALL = {"train": 2, "val": 1}
NAMES = {
    "training": ["ADE_train_00000001", "ADE_train_00000002"],
    "validation": ["ADE_val_00000001"],
}


@pytest.fixture
def annotation():
    """0 is unlabelled, 1 wall, 13 person, 150 flag."""
    values = np.zeros((20, 30), np.uint8)
    values[2:10], values[10:15], values[15:] = 1, 13, 150
    return values


@pytest.fixture
def home(tmp_path, write_photo, annotation):
    home = tmp_path / "data/ADEChallengeData2016"
    for folder, names in NAMES.items():
        (home / "annotations" / folder).mkdir(parents=True)
        for seed, name in enumerate(names):
            write_photo(home / f"images/{folder}/{name}.jpg", seed=seed)
            path = home / f"annotations/{folder}/{name}.png"
            assert cv2.imwrite(str(path), annotation)
    return home


@pytest.mark.parametrize("above", [0, 1])
def test_labels_are_one_less_and_zero_is_ignored(
    home, annotation, prepare, labels, above
):
    root = home.parent if above else home
    dataset = prepare("ade20k", open_ade20k, root, **SMALL)
    assert dataset.num_classes == 150
    assert [dataset.class_names[i] for i in (0, 12, 149)] == ["wall", "person", "flag"]
    assert set(labels(dataset, "train")) == set(NAMES["training"])
    [label] = labels(dataset, "val").values()
    wanted = np.full_like(annotation, 255)
    wanted[2:10], wanted[10:15], wanted[15:] = 0, 12, 149
    np.testing.assert_array_equal(label, wanted)


def test_the_published_sizes(home, refused):
    assert SIZES == {"train": 20210, "val": 2000}
    message = refused("ade20k", open_ade20k, home, **SIZES)
    assert f"{home}: split 'train' has 2 images, and the published one 20210" in message


def test_a_number_that_is_no_label(home, refused, annotation):
    annotation[0, 0] = 151
    path = home / "annotations/training/ADE_train_00000002.png"
    cv2.imwrite(str(path), annotation)
    message = refused("ade20k", open_ade20k, home, **SMALL)
    assert f"{path}: holds 151, which is no label of this data set" in message


def test_a_missing_mask(home, refused):
    (home / "annotations/training/ADE_train_00000001.png").unlink()
    message = refused("ade20k", open_ade20k, home, **SMALL)
    assert "'ADE_train_00000001' has no mask in" in message


def test_no_such_layout(tmp_path, refused):
    message = refused("ade20k", open_ade20k, tmp_path, **SMALL)
    assert f"{tmp_path}: no ADEChallengeData2016/annotations below it" in message
    assert "put ADEChallengeData2016.zip (from http" in message


def test_a_truncated_archive_is_named(tmp_path, home):
    root = tmp_path / "archives"
    root.mkdir()
    with zipfile.ZipFile(root / "ADEChallengeData2016.zip", "w") as zipped:
        for path in home.rglob("*"):
            zipped.write(path, path.relative_to(home.parent))
    with pytest.raises(UserError) as error:
        data.open_dataset("ade20k", root=str(root), data_dir=str(tmp_path / "records"))
    assert "ADEChallengeData2016.zip: is damaged, truncated or" in str(error.value)
    assert "fetch it again from http://data.csail.mit.edu/" in str(error.value)
    assert len(list(root.iterdir())) == 1
