"""How many classes there are, without a file of the data."""

import pytest

from train.aot.command import CLASSES, num_classes
from train.data import DATASETS
from train.user.errors import UserError

PUBLISHED = {
    "ade20k": 150,
    "cityscapes": 19,
    "coco_voc": 21,
    "cocostuff10k": 171,
    "pascal_context": 60,
    "voc2012": 21,
    "voc2012aug": 21,
}


def test_the_published_numbers():
    assert {name: num_classes(name) for name in PUBLISHED} == PUBLISHED


def test_every_set_but_a_folder_says_it():
    assert CLASSES.keys() == DATASETS.keys() - {"folder"}
    assert num_classes("folder") == 21


def test_the_embedded_set(tmp_path):
    assert num_classes("shapes") == len(DATASETS["shapes"](None).class_names)


def test_an_unknown_set():
    with pytest.raises(UserError, match=r"data\.name='voc' is unknown; did you mean"):
        num_classes("voc")
