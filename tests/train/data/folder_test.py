import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ema_jax.classes import voc_palette
from train.data import open_dataset
from train.user.errors import UserError

CAMVID = Path(__file__).parents[4] / "shared/data/camvid"
NUCLEI = CAMVID.parent / "nuclei"


@pytest.fixture
def add(tmp_path, write_photo, write_mask, indices):
    """add("train/a") writes the image and the mask of that stem below root."""

    def write(stem, suffix=".jpg", seed=0):
        write_photo(tmp_path / f"root/images/{stem}{suffix}", seed=seed)
        write_mask(tmp_path / f"root/labels/{stem}.png", indices)

    return write


@pytest.fixture
def root(tmp_path):
    path = tmp_path / "root"
    path.mkdir()
    (path / "classes.txt").write_text("sky\nroad\n\n tree \n")
    return path


@pytest.fixture
def refused(tmp_path, open_root):
    """The message; nothing may be left in data_dir."""

    def message():
        with pytest.raises(UserError) as error:
            open_root()
        assert list((tmp_path / "records").rglob("*")) == []
        assert "\n" not in str(error.value)
        return str(error.value)

    return message


def names(dataset, split):
    source = dataset.source(split)
    return sorted(source[i]["name"] for i in range(len(source)))


def test_lists(root, add, open_root, indices):
    for stem in "abc":
        add(stem)
    (root / "train.txt").write_bytes(b"\xef\xbb\xbfa  \r\n\r\nb\r\n")
    (root / "val.txt").write_text("c")
    dataset = open_root()
    assert dataset.class_names == ("sky", "road", "tree")
    np.testing.assert_array_equal(dataset.palette, voc_palette(3))
    assert names(dataset, "train") == ["a", "b"]
    assert names(dataset, "val") == ["c"]
    np.testing.assert_array_equal(dataset.source("val")[0]["label"], indices)


def test_split_folders(add, open_root):
    for stem in ("train/a", "train/b", "val/c"):
        add(stem)
    dataset = open_root()
    assert names(dataset, "train") == ["a", "b"]
    assert names(dataset, "val") == ["c"]


def test_lists_over_split_folders(root, add, open_root):
    for stem in ("train/a", "train/b", "val/a"):
        add(stem, seed=len(stem) + ord(stem[-1]))
    (root / "train.txt").write_text("b\n")
    dataset = open_root()
    assert names(dataset, "train") == ["b"]
    assert names(dataset, "val") == ["a"]


def test_files_that_a_list_leaves_out_need_no_mask(root, add, open_root):
    add("train/a")
    add("train/b")
    (root / "labels/train/a.png").unlink()
    (root / "train.txt").write_text("b\n")
    assert names(open_root(), "train") == ["b"]


def test_a_list_may_name_subfolders_and_dots(root, add, open_root):
    add("bonn/frame.001")
    (root / "train.txt").write_text("bonn/frame.001\n")
    dataset = open_root()
    assert names(dataset, "train") == ["bonn/frame.001"]
    with pytest.raises(UserError, match="it has train"):
        dataset.source("bonn")


def test_trainval_list_reaches_both_folders(root, add, open_root):
    add("train/a")
    add("val/b")
    (root / "trainval.txt").write_text("a\nb\n")
    assert names(open_root(), "trainval") == ["a", "b"]


def test_image_and_mask_come_from_the_same_split(root, add, refused):
    add("train/a")
    add("val/a")
    (root / "labels/val/a.png").unlink()
    (root / "val.txt").write_text("a\n")
    assert f"'a' has no mask in {root}/labels/val" in refused()


@pytest.mark.parametrize("suffix", [".JPG", ".jpeg", ".Png", ".bmp", ".webp", ".tif"])
def test_suffixes(add, open_root, suffix):
    add("train/a", suffix)
    assert names(open_root(), "train") == ["a"]


def test_upper_case_masks_and_hidden_files(root, add, open_root):
    add("train/a")
    (root / "labels/train/a.png").rename(root / "labels/train/a.PNG")
    (root / "images/train/.a.jpg").write_text("a file manager's own")
    assert names(open_root(), "train") == ["a"]


def test_meta_json(root, add, open_root):
    add("train/a")
    (root / "classes.txt").unlink()
    palette = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    meta = {"classes": ["x", "y", "z"], "palette": palette, "ignore": 255}
    (root / "meta.json").write_text(json.dumps(meta))
    dataset = open_root()
    assert dataset.class_names == ("x", "y", "z")
    np.testing.assert_array_equal(dataset.palette, palette)
    assert dataset.palette.dtype == np.uint8


def test_another_ignore_value(root, add, open_root, write_mask, indices):
    add("train/a")
    write_mask(root / "labels/train/a.png", np.where(indices == 255, 9, indices))
    (root / "meta.json").write_text('{"ignore": 9}')
    dataset = open_root()
    assert dataset.ignore_label == 255
    np.testing.assert_array_equal(dataset.source("train")[0]["label"], indices)


@pytest.mark.parametrize(
    ("classes", "meta", "theirs", "said"),
    [
        # Two classes as most tools write them: 255 is the object, not "ignore".
        (2, None, {0: 0, 1: 255}, "no mask holds anything but 0, 255: 0 is 'c0', 255"),
        (2, None, {0: 0, 1: 128}, "no mask holds anything but 0, 128: 0 is 'c0', 128"),
        (3, None, {0: 1, 1: 2, 2: 3, 255: 255}, "but 1, 2, 3, 255: 1 is 'c0', 2 is"),
        (3, None, {0: 0, 1: 1, 2: 2, 255: 255}, None),
        (3, {"values": [5, 255, 9]}, {0: 5, 1: 255, 2: 9}, None),
        (3, {"values": [5, 6, 9], "ignore": 0}, {0: 5, 1: 6, 2: 9, 255: 0}, None),
        (2, {"ignore": 255}, {0: 0, 255: 255}, None),
    ],
)
def test_values_of_the_classes(
    root, add, open_root, write_mask, caplog, classes, meta, theirs, said
):
    """Each file has what stands for the expected classes; one has the first alone."""
    caplog.set_level("INFO", "ema_jax")
    present = list(theirs)
    expected = np.resize(np.repeat(present, 40), (20, 30)).astype(np.uint8)
    table = np.zeros(256, np.uint8)
    table[present] = list(theirs.values())
    for name in ("train/a", "train/b", "val/c"):
        add(name)
        first = name == "train/b"
        label = np.full_like(expected, present[0]) if first else expected
        write_mask(root / f"labels/{name}.png", table[label])
    (root / "classes.txt").write_text("\n".join(f"c{i}" for i in range(classes)))
    if meta is not None:
        (root / "meta.json").write_text(json.dumps(meta))
    dataset = open_root()
    np.testing.assert_array_equal(dataset.source("val")[0]["label"], expected)
    told = [text for text in caplog.messages if "no mask holds anything but" in text]
    assert len(told) == (said is not None)
    assert all(said in text for text in told)


@pytest.mark.skipif(not NUCLEI.is_dir(), reason="needs ../shared/data/nuclei")
def test_cells_as_they_lie_there(tmp_path):
    """Masks of 0 and 255, of which 255 is the nucleus."""
    dataset = open_dataset("folder", root=str(NUCLEI), data_dir=str(tmp_path))
    assert dataset.class_names == ("background", "nucleus")
    source = dataset.source("train")
    assert len(source) == 20
    for example in (source[i] for i in range(20)):
        with Image.open(next(NUCLEI.glob(f"labels/train/{example['name']}.*"))) as mask:
            np.testing.assert_array_equal(example["label"] == 1, np.asarray(mask) > 0)
        assert set(np.unique(example["label"])) == {0, 1}


def test_a_mask_is_turned_as_its_image_is(root, add, open_root, indices):
    """Both are stored on their side, with the flag that says so."""
    add("train/a")
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter to the right
    image = Image.fromarray(np.arange(600).reshape(20, 30).astype(np.uint8))
    image.save(root / "images/train/a.jpg", exif=exif, quality=100)
    stored = Image.fromarray(indices)
    stored.save(root / "labels/train/a.png", exif=exif)
    example = open_root().source("train")[0]
    assert example["image"].shape == (30, 20, 3)
    np.testing.assert_array_equal(example["label"], np.rot90(indices, -1))


def test_a_test_split_without_masks_is_left_out(root, add, open_root, write_photo):
    add("train/a")
    write_photo(root / "images/test/b.jpg")
    with pytest.raises(UserError, match="has no split 'test'; it has train"):
        open_root().source("test")


def test_a_test_list_without_masks_is_left_out(root, add, open_root, write_photo):
    add("a")
    write_photo(root / "images/b.jpg")
    (root / "train.txt").write_text("a")
    (root / "test.txt").write_text("b")
    with pytest.raises(UserError, match="has no split 'test'; it has train"):
        open_root().source("test")


def test_a_test_split_with_masks_is_there(add, open_root):
    add("train/a")
    add("test/b")
    assert names(open_root(), "test") == ["b"]


def test_older_records_and_torn_ones_are_mentioned(root, add, open_root, caplog):
    caplog.set_level("INFO", "ema_jax")
    add("train/a")
    folder = Path(open_root().folder)
    assert not any("other states" in text for text in caplog.messages)
    torn = folder.parent / "incomplete.ABC_1.0.0"
    torn.mkdir()
    (torn / "part").write_bytes(bytes(20_000_000))
    add("train/b")
    open_root()
    open_root()
    [told] = [text for text in caplog.messages if "other states" in text]
    assert told == (
        f"records of other states or options take 0.02 GB in {folder.parent.parent}, "
        "2 folders; "
        "delete those that nothing reads"
    )


def test_changed_files_are_read_again(root, add, open_root, write_mask, indices):
    add("train/a")
    first = open_root()
    assert open_root().folder == first.folder
    indices[:] = 1
    path = write_mask(root / "labels/train/a.png", indices)
    os.utime(path, ns=(1, 1))
    second = open_root()
    assert second.folder != first.folder
    assert (second.source("train")[0]["label"] == 1).all()
    add("train/b")
    assert names(open_root(), "train") == ["a", "b"]


def test_a_touched_image_and_a_new_class_change_the_records(root, add, open_root):
    add("train/a")
    folders = {open_root().folder}
    os.utime(root / "images/train/a.jpg", ns=(5, 5))
    folders.add(open_root().folder)
    (root / "classes.txt").write_text("sky\nroad\ntree\ncar\n")
    folders.add(open_root().folder)
    (root / "meta.json").write_text('{"ignore": 200}')
    (root / "images/train/a.jpg").rename(root / "images/train/b.jpg")
    (root / "labels/train/a.png").rename(root / "labels/train/b.png")
    with pytest.raises(UserError, match="holds 255"):
        open_root()
    (root / "meta.json").unlink()
    folders.add(open_root().folder)
    assert len(folders) == 4


def test_listed_name_without_image(root, add, refused):
    add("a")
    (root / "train.txt").write_text("a\n\nlost\n")
    message = refused()
    assert f"{root}/train.txt:3: 'lost' has no image in {root}/images" in message
    assert "add the file or take the name out" in message


def test_listed_name_without_mask(root, add, refused):
    add("a")
    (root / "labels/a.png").unlink()
    (root / "train.txt").write_text("a\n")
    assert f"{root}/train.txt:1: 'a' has no mask in {root}/labels;" in refused()


@pytest.mark.parametrize(
    "listed", ["a.jpg", "images/a.jpg", "./images/a", "images\\a.jpg", "# all\na"]
)
def test_a_list_may_name_the_files(root, add, open_root, listed):
    add("a")
    (root / "train.txt").write_text(f"{listed}\n")
    assert names(open_root(), "train") == ["a"]


def test_a_listed_file_of_another_suffix_is_missing(root, add, refused):
    add("a")
    (root / "train.txt").write_text("a.png\n")
    assert f"{root}/train.txt:1: 'a.png' has no image in {root}/images" in refused()


def test_a_list_tells_images_of_one_stem_apart(root, add, open_root):
    """Without the suffix it is refused, and only where it is asked for."""
    add("a")
    add("a", suffix=".png", seed=1)
    add("b")
    (root / "train.txt").write_text("a.png\n")
    (root / "val.txt").write_text("b\n")
    example = open_root().source("train")[0]
    assert example["name"] == "a"
    with Image.open(root / "images/a.png") as image:
        np.testing.assert_array_equal(example["image"], np.asarray(image))
    (root / "train.txt").write_text("a\n")
    with pytest.raises(UserError, match=r"a\.png: has the same stem as a\.jpg; "):
        open_root()


@pytest.mark.parametrize("masks", ["labels", "masks", "annotations", "gt"])
@pytest.mark.parametrize(("train", "val"), [("train", "val"), ("Train", "valid")])
@pytest.mark.parametrize("inside", [True, False], ids=["train/images", "images/train"])
def test_folders_by_the_names_that_people_give(
    root, open_root, write_photo, write_mask, indices, masks, train, val, inside
):
    for split in (train, val):
        for kind, write, what in (
            ("images", write_photo, ()),
            (masks, write_mask, (indices,)),
        ):
            folder = f"{split}/{kind}" if inside else f"{kind}/{split}"
            suffix = "jpg" if kind == "images" else "png"
            write(root / folder / f"{split}1.{suffix}", *what)
    dataset = open_root()
    assert names(dataset, "train") == [f"{train}1"]
    assert names(dataset, "val") == [f"{val}1"]
    np.testing.assert_array_equal(dataset.source("val")[0]["label"], indices)


def test_two_folders_of_one_split(root, add, refused):
    add("val/a")
    add("valid/b")
    assert f"{root}/images/valid: there is another 'val'; remove one" in refused()


def test_image_without_mask_in_a_split_folder(root, add, refused):
    add("train/a")
    (root / "labels/train/a.png").unlink()
    message = refused()
    assert f"{root}/images/train/a.jpg: 'a' has no mask in" in message
    assert f"{root}/labels/train;" in message


def test_name_twice_in_a_list(root, add, refused):
    add("a")
    add("b")
    (root / "train.txt").write_text("a\nb\na \n")
    assert f"{root}/train.txt:3: 'a' is already on line 1" in refused()


def test_stem_twice_in_a_folder(root, add, refused):
    add("train/a", ".jpg")
    add("train/a", ".png")
    message = refused()
    assert f"{root}/images/train/a.png: has the same stem as a.jpg" in message


def test_empty_list(root, add, refused):
    add("a")
    (root / "train.txt").write_text(" \n\n")
    assert f"{root}/train.txt: the split is empty" in refused()


def test_empty_folder(root, add, refused):
    add("train/a")
    (root / "images/val").mkdir()
    assert f"{root}/images/val: the split is empty" in refused()


def test_no_split_at_all(root, add, refused):
    add("a")
    message = refused()
    assert f"{root}: has neither train.txt and val.txt nor images/train" in message


def test_binary_list(root, add, refused):
    add("a")
    (root / "train.txt").write_bytes(b"\xff\xfe\x00a")
    assert f"{root}/train.txt: cannot be read as text" in refused()


def test_class_out_of_range_is_found_before_anything_is_written(root, add, refused):
    add("train/a")
    (root / "classes.txt").write_text("sky\nroad\n")
    assert f"{root}/labels/train/a.png: holds 2, neither a class (0..1)" in refused()


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        (None, "the classes have no names; write classes.txt"),
        ("{}", "the classes have no names; write classes.txt"),
        ("{", "meta.json: is not JSON"),
        ("[]", "meta.json: is not an object"),
        ('{"classes": "abc"}', "meta.json: the classes are no list of names"),
        ('{"classes": []}', "meta.json: names 0 classes"),
        ('{"classes": ["a", "b", "a"]}', "meta.json: names 'a' twice"),
        ('{"classes": ["a", "b"], "ignore": 1}', '"ignore" is 1; use a number in 2..'),
        ('{"classes": ["a"], "ignore": "x"}', "\"ignore\" is 'x'"),
        (
            '{"classes": ["a", "b"], "values": [4, 4]}',
            '"values" is [4, 4]; write',
        ),
        ('{"classes": ["a", "b"], "values": [0]}', '"values" is [0]; write the 2'),
        ('{"classes": ["a"], "values": 7}', '"values" is 7; write the 1'),
        (
            '{"classes": ["a", "b"], "values": [0, 9], "ignore": 9}',
            '"ignore" is 9; use a number in 1..255, which no class has',
        ),
        ('{"classes": ["a"], "palette": [[0, 0]]}', '"palette" must hold 1 RGB'),
        ('{"classes": ["a"], "palette": [[0, 0, 256]]}', '"palette" must hold 1 RGB'),
        ('{"classes": ["a"], "palette": [[0, 0], 1]}', '"palette" must hold 1 RGB'),
    ],
)
def test_wrong_descriptions_of_the_classes(root, add, refused, meta, expected):
    add("train/a")
    (root / "classes.txt").unlink()
    if meta is not None:
        (root / "meta.json").write_text(meta)
    message = refused()
    assert expected in message
    assert str(root) in message


def test_a_class_by_the_name_of_ignore_keeps_its_place(root, add, open_root, indices):
    """In a list; left out, the classes behind it would stand for others."""
    add("train/a")
    (root / "classes.txt").write_text("sky\nignore\ntree\n")
    dataset = open_root()
    assert dataset.class_names == ("sky", "ignore", "tree")
    np.testing.assert_array_equal(dataset.source("train")[0]["label"], indices)


def test_a_single_class(root, add, refused):
    """Its loss would be zero, and every mask right."""
    add("train/a")
    (root / "classes.txt").write_text("cell\n")
    assert f"{root}: has one class alone, 'cell', and nothing to" in refused()


def test_too_many_classes(root, add, refused):
    add("train/a")
    (root / "classes.txt").write_text("\n".join(map(str, range(256))))
    assert f"{root}/classes.txt: names 256 classes; a mask holds 1 to 255" in refused()


@pytest.mark.skipif(not CAMVID.is_dir(), reason="needs ../shared/data/camvid")
def test_a_real_set_works_as_it_is(tmp_path):
    dataset = open_dataset("folder", root=str(CAMVID), data_dir=str(tmp_path))
    assert dataset.num_classes == 11
    assert dataset.class_names[0] == "sky"
    assert tuple(dataset.palette[0]) == (128, 128, 128)
    assert (len(dataset.source("train")), len(dataset.source("val"))) == (367, 101)
    assert (dataset.sizes("val") == (360, 480)).all()
    example = dataset.source("val")[0]
    assert set(np.unique(example["label"])) <= {*range(11), 255}
