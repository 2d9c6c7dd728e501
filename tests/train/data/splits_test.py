"""Splits by lists of two columns, subfolders and shares."""

import os

import numpy as np
import pytest
from PIL import Image

from train.user.errors import UserError


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "classes.txt").write_text("a\nb")
    return root


def write(root, name, image="images", mask="labels", seed=0):
    pixels = np.random.default_rng(seed).integers(0, 2, (6, 8), np.uint8)
    for folder, scale in ((image, 255), (mask, 1)):
        path = root / folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels * scale).save(path)


def names(dataset, split):
    source = dataset.source(split)
    return sorted(source[i]["name"] for i in range(len(source)))


@pytest.mark.parametrize("separator", [" ", "\t", ", "])
def test_lists_of_two_columns(root, open_root, separator):
    for name in ("p", "q"):
        write(root, name, "photos", "truth")
    lines = [separator.join([f"photos/{n}.png", f"truth/{n}.png"]) for n in "pq"]
    (root / "train.txt").write_text(f"# images\n{lines[0]} # the first\n")
    (root / "val.txt").write_text(lines[1])
    dataset = open_root()
    assert names(dataset, "train") == ["p"]
    example = dataset.source("val")[0]
    np.testing.assert_array_equal(example["image"][..., 0] > 0, example["label"] > 0)


def test_images_of_one_stem_in_two_folders(root, open_root):
    for city in ("bonn", "ulm"):
        write(root, "1", f"{city}/photos", f"{city}/truth")
    lines = [f"{city}/photos/1.png {city}/truth/1.png\n" for city in ("bonn", "ulm")]
    (root / "train.txt").write_text("".join(lines))
    (root / "val.txt").write_text(lines[0])
    dataset = open_root()
    assert names(dataset, "train") == [
        f"{root}/bonn/photos/1",
        f"{root}/ulm/photos/1",
    ]
    assert names(dataset, "val") == ["1"]
    (root / "train.txt").write_text(lines[0] + "bonn/photos/1.png\tbonn/truth/1.png")
    with pytest.raises(
        UserError, match=r"train\.txt: lists .*bonn/photos/1\.png twice"
    ):
        open_root()


def test_absolute_paths(root, open_root):
    for name in ("p", "q", "r s"):
        write(root, name)
    (root / "train.txt").write_text(f"{root}/images/p.png\nr s\n")
    (root / "val.txt").write_text(f"{root}/images/q.png {root}/labels/q.png")
    assert names(open_root(), "train") == ["p", "r s"]
    (root / "train.txt").write_text("../root/images/p.png")
    with pytest.raises(UserError, match=r":1: '\.\./root/images/p\.png' is no"):
        open_root()


def test_subfolders_of_a_split_are_searched(root, open_root, caplog):
    for name in ("train/x", "train/sub/y", "val/z"):
        write(root, name)
    write(root, "train/extra", image="labels")
    (root / "images/train/notes.doc").write_text("mine")
    with caplog.at_level("WARNING", "ema_jax"):
        dataset = open_root()
    assert names(dataset, "train") == ["sub/y", "x"]
    said = [r.message for r in caplog.records]
    assert any("1 files in" in text and "notes.doc" in text for text in said)
    assert any("1 files in" in text and "extra.png" in text for text in said)


def test_a_share_is_taken_and_stays(root, open_root):
    for i in range(40):
        write(root, f"p{i}", seed=i)
    first = names(open_root(val_share=0.25), "val")
    assert 4 <= len(first) <= 16
    for i in range(40, 44):
        write(root, f"p{i}", seed=i)
    again = open_root(val_share=0.25)
    assert set(first) <= set(names(again, "val"))
    assert not set(names(again, "train")) & set(names(again, "val"))


def test_groups_are_kept_together(root, open_root):
    for patient in range(12):
        for view in "ab":
            write(root, f"patient{patient}_{view}")
    dataset = open_root(val_share=0.3, group_pattern=r"^(patient\d+)_")
    both = {split: names(dataset, split) for split in ("train", "val")}
    groups = {s: {name[:-2] for name in found} for s, found in both.items()}
    assert groups["val"]
    assert not groups["train"] & groups["val"]
    with pytest.raises(UserError, match="finds nothing in 'patient0_a'"):
        open_root(val_share=0.3, group_pattern="nurse")


def test_without_a_share_the_option_is_named(root, open_root):
    write(root, "p")
    with pytest.raises(UserError, match=r"set --config\.data\.val_share=0\.2 to split"):
        open_root()


def test_a_folder_that_cannot_be_read_is_named(root, open_root, monkeypatch):
    for name in ("train/x", "train/sub/y", "val/z"):
        write(root, name)
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("images/train/sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=r"train/sub: cannot be read \(Permission"):
        open_root()
