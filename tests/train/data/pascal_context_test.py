import numpy as np
import pytest

from train.data.pascal_context import SIZES, open_pascal_context

SMALL = {"train": 2, "val": 1}
NAMES = {"train": ["2008_000002", "2008_000003"], "val": ["2008_000007"]}
LABELS = {2: 1, 284: 37, 397: 50, 427: 55, 454: 58, 458: 59, 431: 0, 1: 0, 459: 0}
"""Of the 459, and the classes they are; the last three are background."""


@pytest.fixture
def classes():
    rows = [*LABELS.values(), *[0] * (20 - len(LABELS))]
    return np.repeat(np.array(rows, np.uint8)[:, None], 30, axis=1)


@pytest.fixture
def root(tmp_path, write_photo, write_list):
    root = tmp_path / "data"
    home = root / "VOCdevkit/VOC2010"
    for split, names in NAMES.items():
        write_list(home / f"ImageSets/Main/{split}.txt", names)
        for name in names:
            write_photo(home / f"JPEGImages/{name}.jpg")
    return root


@pytest.fixture
def mats(root, write_mat):
    """trainval/*.mat next to VOCdevkit, whose LabelMap tells 459 labels apart."""
    rows = np.array([*LABELS, *[431] * (20 - len(LABELS))], np.uint16)
    for name in (*NAMES["train"], *NAMES["val"]):
        value = np.repeat(rows[:, None], 30, axis=1)
        write_mat(root / f"trainval/{name}.mat", "LabelMap", value)
    return root / "trainval"


@pytest.fixture
def pngs(root, write_mask, write_list, classes):
    home = root / "VOCdevkit/VOC2010"
    for split, names in NAMES.items():
        write_list(home / f"ImageSets/SegmentationContext/{split}.txt", names)
        for name in names:
            write_mask(home / f"SegmentationClassContext/{name}.png", classes)
    return home / "SegmentationClassContext"


@pytest.mark.parametrize("form", ["mats", "pngs"])
def test_both_forms_are_the_same(root, request, prepare, labels, classes, form):
    request.getfixturevalue(form)
    dataset = prepare("pascal_context", open_pascal_context, root, **SMALL)
    assert dataset.num_classes == 60
    names = {c: dataset.class_names[c] for c in (0, 1, 37, 50, 55, 58, 59)}
    assert names == {
        0: "background",
        1: "aeroplane",
        37: "person",
        50: "table",
        55: "tvmonitor",
        58: "window",
        59: "wood",
    }
    assert set(labels(dataset, "train")) == set(NAMES["train"])
    [label] = labels(dataset, "val").values()
    np.testing.assert_array_equal(label, classes)


def test_root_may_be_the_devkit(root, mats, prepare):
    folders = {
        prepare("pascal_context", open_pascal_context, folder, **SMALL).folder
        for folder in (root, root / "VOCdevkit", root / "VOCdevkit/VOC2010")
    }
    assert len(folders) == 1


def test_the_published_sizes(root, mats, refused):
    assert SIZES == {"train": 4998, "val": 5105}
    message = refused("pascal_context", open_pascal_context, root, **SIZES)
    assert "split 'train' has 2 images, and the published one 4998" in message


def test_a_damaged_mat_in_the_middle(root, mats, refused):
    path = mats / "2008_000003.mat"
    path.write_bytes(path.read_bytes()[:150])
    message = refused("pascal_context", open_pascal_context, root, **SMALL)
    assert f"{path}: has no readable LabelMap" in message


def test_a_class_above_59(root, pngs, refused, write_mask, classes):
    classes[0, 0] = 60
    path = write_mask(pngs / "2008_000007.png", classes)
    message = refused("pascal_context", open_pascal_context, root, **SMALL)
    assert f"{path}: holds 60, which is no label" in message


def test_no_annotation(root, refused):
    message = refused("pascal_context", open_pascal_context, root, **SMALL)
    assert f"{root}: no trainval nor SegmentationClassContext below it" in message
    assert "put trainval.tar.gz (from https://www.cs.stanford.edu/" in message


def test_no_images(tmp_path, refused):
    message = refused("pascal_context", open_pascal_context, tmp_path, **SMALL)
    assert "put VOCtrainval_03-May-2010.tar (from http://host.robots" in message
