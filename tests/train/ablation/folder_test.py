"""What the folders of an ablation and its runs hold, and how it is written."""

import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from train.ablation.folder import (
    RESULT,
    SPECIFICATION,
    Specification,
    check_unchanged,
    fingerprint,
    read_json,
    read_specification,
    write_json,
)
from train.configuration.config import load_config
from train.data import open_dataset
from train.user.errors import UserError
from train.user.files import write_whole


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"a": [1, None]})
    assert read_json(path) == {"a": [1, None]}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "{", "[]", "\0\0"])
def test_what_cannot_be_read_is_not_there(tmp_path, text):
    path = tmp_path / "a.json"
    assert read_json(path) is None
    path.write_text(text)
    assert read_json(path) is None


def test_an_interrupted_write_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_whole(path, "whole")

    def full(file):
        assert path.read_text() == "whole"
        raise OSError("full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="full"):
        write_whole(path, "ha")
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


ROOT = Path(__file__).parents[3]


def wanted(*overrides, **others):
    config = load_config(
        str(ROOT / "configs" / "shapes.py"), [f"--config.{text}" for text in overrides]
    )
    return Specification(config, **{"dataset": "shapes", **others})


def test_it_is_read_as_it_was_written(tmp_path):
    wanted("seed=3", eval_iters=(1, 2)).write(tmp_path)
    assert read_specification(tmp_path) == wanted("seed=3", eval_iters=(1, 2))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (wanted("optimizer.power=1"), "seed0 was begun with another config.optimizer"),
        (wanted("seed=1"), "seed0 was begun with another config.seed; choose"),
        (
            wanted("data.root=here", dataset="x"),
            "begun with other data than what config.data.root=here holds now; choose",
        ),
    ],
)
def test_another_training(tmp_path, other, message):
    wanted().write(tmp_path / "seed0")
    with pytest.raises(UserError, match=message):
        check_unchanged(tmp_path / "seed0", other)


@pytest.mark.parametrize(
    "same",
    [
        wanted("data.root=elsewhere", "data.num_threads=1"),
        wanted(eval_iters=(3,)),
    ],
)
def test_the_same_training(tmp_path, same):
    wanted().write(tmp_path / "seed0")
    check_unchanged(tmp_path / "seed0", same)


def test_seeds_of_a_point_differ_in_nothing_else(tmp_path):
    wanted().write(tmp_path / "seed0")
    check_unchanged(tmp_path / "seed1", wanted("seed=1"))
    with pytest.raises(UserError, match=r"seed0 was begun .* config\.num_steps;"):
        check_unchanged(tmp_path / "seed1", wanted("seed=1", "num_steps=7"))


def test_a_result_answers_one_question(tmp_path):
    result = tmp_path / RESULT
    for specification, kept in (
        (wanted(), False),  # nobody knows what it was the result of
        (wanted(), True),
        (wanted(eval_iters=(3,)), False),
        (wanted(eval_iters=(3,)), True),
    ):
        write_json(result, {"status": "finished"})
        specification.write(tmp_path)
        assert result.exists() == kept


def test_what_an_older_or_a_broken_file_holds(tmp_path):
    path = tmp_path / "seed0" / SPECIFICATION
    wanted().write(path.parent)
    values = json.loads(path.read_text())
    del values["dataset"]
    write_json(path, values)
    check_unchanged(path.parent, replace(wanted(), dataset="any"))
    path.write_text("")
    check_unchanged(path.parent, wanted("num_steps=7"))


def make_data(root, shade=0, classes="dark\nbright\n"):
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        image = rng.integers(0, 100, (8, 9, 3), np.uint8) + np.uint8(shade)
        for kind, array in (("images", image), ("labels", image[..., 0] % 2)):
            path = root / kind / split / "a.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(array).save(path)
    (root / "classes.txt").write_text(classes)
    return fingerprint(
        open_dataset("folder", root=str(root), data_dir=str(root / "records"))
    )


def test_a_fingerprint_is_of_the_records_wherever_they_lie(tmp_path):
    one = make_data(tmp_path / "one")
    assert make_data(tmp_path / "moved") == one
    assert make_data(tmp_path / "named", classes="dark\nlight\n") != one
    info = {"splits": [{"name": "train", "numBytes": "9", "shardLengths": ["2"]}]}
    found = set()
    for change in ({}, {"numBytes": "8"}, {"shardLengths": ["3"]}, {"name": "val"}):
        split = info["splits"][0] | change
        write_json(tmp_path / "dataset_info.json", {"splits": [split]})
        dataset = SimpleNamespace(folder=str(tmp_path), class_names=("a", "b"))
        found.add(fingerprint(dataset))
    assert len(found) == 4
