import json

import numpy as np
import pytest

from train.data.coco_voc import SIZES, open_coco_voc
from train.data.voc import CLASS_NAMES

SMALL = {"train": 4, "val": 1}
VOC_NAMES = [
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "boat"),
    *("bird", "cat", "dog", "horse", "sheep", "cow", "bottle", "chair", "couch"),
    *("potted plant", "dining table", "tv"),
]
CATEGORIES = {name: 2 * number for number, name in enumerate(VOC_NAMES, start=1)}
CATEGORIES |= {"zebra": 1, "cup": 3}


def thing(image, name, segmentation, area):
    return {
        "image_id": image,
        "category_id": CATEGORIES[name],
        "segmentation": segmentation,
        "area": area,
        "iscrowd": int(isinstance(segmentation, dict)),
    }


def box(top, left, bottom, right):
    return [left, top, right, top, right, bottom, left, bottom]


@pytest.fixture
def home(tmp_path, write_photo):
    """annotations/, train2017/ and val2017/, as the three archives hold them."""
    home = tmp_path / "data"
    crowd = {"size": [40, 60], "counts": [0, 40, 2360]}
    objects = {
        # a sofa over a zebra, of which VOC has none, and a crowd
        9: [
            thing(9, "zebra", [box(0, 0, 40, 60)], 2400),
            thing(9, "couch", [box(5, 10, 35, 50)], 1200),
            thing(9, "person", crowd, 40),
        ],
        25: [thing(25, "tv", [box(0, 0, 20, 20)], 1000)],  # too small
        30: [thing(30, "cup", [box(0, 0, 40, 60)], 2400)],
        42: [],
        139: [thing(139, "airplane", [box(0, 0, 40, 60)], 2400)],
    }
    write_instances(home, "train", [9, 25, 30, 42], objects)
    write_instances(home, "val", [139], objects)
    for image in objects:
        split = "val" if image == 139 else "train"
        path = home / f"{split}2017/{image:012d}.jpg"
        write_photo(path, size=(40, 60), seed=image)
    return home


def write_instances(home, split, images, objects):
    path = home / f"annotations/instances_{split}2017.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    listed = [
        {"id": i, "file_name": f"{i:012d}.jpg", "height": 40, "width": 60}
        for i in images
    ]
    instances = {
        "images": listed,
        "annotations": [item for i in images for item in objects[i]],
        "categories": [{"id": i, "name": name} for name, i in CATEGORIES.items()],
    }
    path.write_text(json.dumps(instances))


def test_objects_of_vocs_classes(home, prepare, labels):
    dataset = prepare("coco_voc", open_coco_voc, home, **SMALL)
    assert dataset.class_names == CLASS_NAMES
    train = labels(dataset, "train")
    assert list(train) == ["000000000009"]
    wanted = np.zeros((40, 60), np.uint8)
    wanted[5:35, 10:50] = CLASS_NAMES.index("sofa")
    wanted[:, 0] = CLASS_NAMES.index("person")
    np.testing.assert_array_equal(train["000000000009"], wanted)
    [label] = labels(dataset, "val").values()
    assert np.unique(label).tolist() == [CLASS_NAMES.index("aeroplane")]


def test_the_published_sizes(home, refused):
    assert SIZES == {"train": 118287, "val": 5000}
    message = refused("coco_voc", open_coco_voc, home, **SIZES)
    assert "instances_train2017.json: lists 4 images, and the published" in message


def test_a_truncated_list(home, refused):
    path = home / "annotations/instances_val2017.json"
    path.write_bytes(path.read_bytes()[:-100])
    message = refused("coco_voc", open_coco_voc, home, **SMALL)
    assert f"{path}: is no list of COCO instances (" in message
    assert message.endswith("restore it from annotations_trainval2017.zip")


def test_a_list_of_something_else(home, refused):
    path = home / "annotations/instances_val2017.json"
    path.write_text('{"images": [], "annotations": [], "categories": []}')
    message = refused("coco_voc", open_coco_voc, home, **SMALL)
    assert "has 0 of the 20 categories" in message


def test_an_object_that_cannot_be_drawn(home, refused):
    path = home / "annotations/instances_train2017.json"
    path.write_text(path.read_text().replace('"counts": [0, 40', '"counts": [0, 41'))
    message = refused("coco_voc", open_coco_voc, home, **SMALL)
    assert f"{path}: image 9 has an object that cannot be drawn" in message


def test_another_image_of_that_name(home, refused, write_photo):
    path = write_photo(home / "train2017/000000000009.jpg", size=(41, 60))
    message = refused("coco_voc", open_coco_voc, home, **SMALL)
    assert f"{path}: is 41x60 (height x width), but its mask" in message


@pytest.mark.parametrize(
    ("folder", "file"),
    [
        ("train2017", "train2017.zip"),
        ("val2017", "val2017.zip"),
        ("annotations", "annotations_trainval2017.zip"),
    ],
)
def test_no_such_layout(home, refused, folder, file):
    (home / folder).rename(home / "other")
    message = refused("coco_voc", open_coco_voc, home, **SMALL)
    assert f"{home}: no {folder}" in message
    assert f"{file} (from https://cocodataset.org/#download)" in message
