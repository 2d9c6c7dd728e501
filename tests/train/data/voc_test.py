import os
from pathlib import Path

import numpy as np
import pytest

from ema_jax.classes import voc_palette
from train.data import open_dataset
from train.data.masks import read_mask
from train.data.voc import CLASS_NAMES
from train.user.errors import UserError

SAMPLE = Path(__file__).parents[4] / "shared/data/voc_sample"


@pytest.fixture
def home(tmp_path, write_photo, write_mask, indices):
    """VOCdevkit/VOC2012 with two training images and one for validation."""
    path = tmp_path / "data/VOCdevkit/VOC2012"
    for seed, name in enumerate(["2007_000032", "2007_000039", "2007_000033"]):
        write_photo(path / f"JPEGImages/{name}.jpg", seed=seed)
        write_mask(path / f"SegmentationClass/{name}.png", indices)
    lists = path / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2007_000032\n2007_000039\n")
    (lists / "val.txt").write_text("2007_000033\n")
    (lists / "trainval.txt").write_text("2007_000032\n2007_000033\n2007_000039\n")
    return path


@pytest.fixture
def open_voc(tmp_path):
    return lambda root: open_dataset(
        "voc2012", root=str(root), data_dir=str(tmp_path / "records")
    )


def refused(tmp_path, open_voc, root):
    with pytest.raises(UserError) as error:
        open_voc(root)
    assert list((tmp_path / "records").rglob("*")) == []
    return str(error.value)


def test_the_layout(home, open_voc, indices):
    dataset = open_voc(home)
    assert dataset.num_classes == 21
    assert dataset.class_names == CLASS_NAMES
    assert (dataset.class_names[15], dataset.class_names[20]) == ("person", "tvmonitor")
    np.testing.assert_array_equal(dataset.palette, voc_palette(21))
    counts = {s: len(dataset.source(s)) for s in ("train", "val", "trainval")}
    assert counts == {"train": 2, "val": 1, "trainval": 3}
    example = dataset.source("val")[0]
    assert example["name"] == "2007_000033"
    np.testing.assert_array_equal(example["label"], indices)


def test_root_may_be_any_of_three_folders(home, open_voc):
    folders = {open_voc(root).folder for root in (home, *home.parents[:2])}
    assert len(folders) == 1


def test_a_missing_list_is_no_error_but_none_at_all_is(tmp_path, home, open_voc):
    lists = home / "ImageSets/Segmentation"
    (lists / "trainval.txt").unlink()
    with pytest.raises(UserError, match="no split 'trainval'; it has train, val"):
        open_voc(home).source("trainval")
    (lists / "train.txt").unlink()
    (lists / "val.txt").unlink()
    with pytest.raises(UserError, match=r"Segmentation: holds no train\.txt"):
        open_voc(home)


def test_another_folder(tmp_path, open_voc):
    (tmp_path / "other").mkdir()
    message = refused(tmp_path, open_voc, tmp_path / "other")
    assert f"{tmp_path}/other: no VOCdevkit/VOC2012/ImageSets/Segmentation" in message
    assert "--config.data.root=" in message


def test_a_listed_image_or_mask_is_missing(tmp_path, home, open_voc):
    (home / "SegmentationClass/2007_000039.png").unlink()
    message = refused(tmp_path, open_voc, home)
    place = home / "ImageSets/Segmentation/train.txt"
    assert f"{place}:2: '2007_000039' has no mask in" in message
    (home / "JPEGImages/2007_000032.jpg").unlink()
    message = refused(tmp_path, open_voc, home)
    assert f"{place}:1: '2007_000032' has no image in" in message


def test_a_class_above_twenty(tmp_path, home, open_voc, write_mask, indices):
    indices[0, 0] = 21
    path = write_mask(home / "SegmentationClass/2007_000033.png", indices)
    message = refused(tmp_path, open_voc, home)
    assert f"{path}: holds 21, neither a class (0..20) nor 255" in message


def test_changed_files_are_read_again(home, open_voc):
    first = open_voc(home).folder
    os.utime(home / "JPEGImages/2007_000032.jpg", ns=(1, 1))
    assert open_voc(home).folder != first


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="needs ../shared/data/voc_sample")
def test_real_images(open_voc):
    dataset = open_voc(SAMPLE)
    source = dataset.source("train")
    assert len(source) == 4
    found = {}
    for index in range(4):
        example = source[index]
        name = example["name"]
        mask = SAMPLE / f"VOCdevkit/VOC2012/SegmentationClass/{name}.png"
        np.testing.assert_array_equal(example["label"], read_mask(mask))
        found[name] = set(np.unique(example["label"]).tolist())
    assert found["2007_000032"] == {0, 1, 15, 255}  # aeroplanes and persons
    assert found["2007_000039"] == {0, 20, 255}  # a screen
