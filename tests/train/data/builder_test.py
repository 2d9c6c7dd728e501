import errno
import json
import logging
import os
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from tensorflow_datasets.core.writer import Writer

from ema_jax.classes import voc_palette
from train.data.builder import Contents, Example, Pair, verified_examples
from train.data.coding import identity
from train.data.dataset import prepare
from train.data.masks import decode_mask
from train.user.errors import UserError


@pytest.fixture
def pair(tmp_path, write_photo, write_mask, indices):
    image = write_photo(tmp_path / "images/a.jpg")
    return Pair("a", image, write_mask(tmp_path / "labels/a.png", indices))


def contents_of(*pairs, num_classes=3, ignore=255):
    coding = partial(identity, num_classes, [ignore])
    examples = partial(verified_examples, pairs, num_classes=num_classes, coding=coding)
    return Contents(
        class_names=tuple("abcdefgh"[:num_classes]),
        palette=voc_palette(num_classes),
        splits={"train": examples},
        fingerprint="0123",
    )


def refused(tmp_path, *pairs, **options):
    """The message that preparing raises; nothing may be left in data_dir."""
    records = tmp_path / "records"
    with pytest.raises(UserError) as error:
        prepare("mine", contents_of(*pairs, **options), str(records))
    assert list(records.rglob("*")) == []
    message = str(error.value)
    assert "\n" not in message
    return message


def test_examples_hold_the_image_file_and_the_indices(pair, indices):
    [example] = verified_examples([pair], num_classes=3)
    assert example.name == "a"
    assert example.image == pair.image.read_bytes()
    assert example.size == (20, 30)
    np.testing.assert_array_equal(decode_mask(example.label), indices)


def test_another_ignore_value_becomes_255(tmp_path, pair, write_mask, indices):
    theirs = np.where(indices == 255, 200, indices)
    mask = write_mask(tmp_path / "labels/b.png", theirs)
    coding = partial(identity, 3, [200])
    [example] = verified_examples(
        [pair._replace(mask=mask)], num_classes=3, coding=coding
    )
    np.testing.assert_array_equal(decode_mask(example.label), indices)


def test_255_is_wrong_where_another_value_is_ignored(tmp_path, pair):
    assert "holds 255" in refused(tmp_path, pair, ignore=200)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp", ".tif", ".jpeg"])
def test_every_image_format_is_taken(tmp_path, pair, write_photo, suffix):
    image = write_photo(tmp_path / f"images/b{suffix}")
    [example] = verified_examples([pair._replace(image=image)], num_classes=3)
    assert example.size == (20, 30)


def test_good_pairs_before_a_bad_one_leave_nothing(tmp_path, pair, write_photo):
    bad = pair._replace(name="b", image=write_photo(tmp_path / "b.jpg", (21, 30)))
    refused(tmp_path, pair, bad)


def test_unreadable_image(tmp_path, pair):
    pair.image.write_bytes(pair.image.read_bytes()[:-100])
    message = refused(tmp_path, pair)
    assert f"{pair.image}: cannot be read as an image" in message
    assert "replace it or take it out of its split" in message


def test_empty_image_file(tmp_path, pair):
    pair.image.write_bytes(b"")
    assert f"{pair.image}: cannot be read as an image" in refused(tmp_path, pair)


def test_image_that_vanished(tmp_path, pair):
    pair.image.unlink()
    message = refused(tmp_path, pair)
    assert f"{pair.image}: cannot be opened (No such file" in message


def test_unreadable_mask(tmp_path, pair):
    pair.mask.write_bytes(b"rubbish")
    assert f"{pair.mask}: cannot be read as a mask" in refused(tmp_path, pair)


def test_colour_mask(tmp_path, pair):
    Image.new("RGB", (30, 20)).save(pair.mask)
    assert f"{pair.mask}: has mode RGB" in refused(tmp_path, pair)


def test_value_that_is_no_class(tmp_path, pair, write_mask, indices):
    indices[0, 0], indices[0, 1] = 3, 77
    write_mask(pair.mask, indices)
    message = refused(tmp_path, pair)
    assert f"{pair.mask}: holds 3, 77, neither a class (0..2) nor 255" in message


def test_many_wrong_values_are_cut_short(tmp_path, pair, write_mask, indices):
    indices[0, :20] = np.arange(100, 120)
    write_mask(pair.mask, indices)
    assert "100, 101, 102, 103, 104, 105, 106, 107, …, " in refused(tmp_path, pair)


def test_different_sizes(tmp_path, pair, write_photo):
    write_photo(pair.image, (20, 31))
    message = refused(tmp_path, pair)
    assert f"{pair.image}: is 20x31" in message
    assert f"{pair.mask} is 20x30" in message
    assert "EXIF" not in message


def test_turned_photograph(tmp_path, pair):
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: a quarter turn
    with Image.open(pair.image) as image:
        image.save(pair.image, exif=exif)
    message = refused(tmp_path, pair)
    assert "is 30x20 (height x width) after its EXIF rotation" in message


def test_a_folder_that_cannot_be_written_to(tmp_path, pair):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(UserError, match=r"cannot be written.*--config\.data\.data_dir"):
        prepare("mine", contents_of(pair), str(blocked))
    assert blocked.read_text() == "not a folder"


def test_a_full_disk(tmp_path, pair, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Writer, "finalize", full)
    message = refused(tmp_path, pair)
    assert "No space left on device); make room or give another" in message


def test_defects_of_ours_keep_their_type_and_leave_nothing(tmp_path):
    def broken():
        yield Example("a", b"image", b"label", (1, 1))
        raise ZeroDivisionError

    contents = contents_of()
    contents.splits["train"] = broken
    with pytest.raises(ZeroDivisionError):
        prepare("mine", contents, str(tmp_path / "records"))
    assert list((tmp_path / "records").rglob("*")) == []


def test_a_failed_set_leaves_the_others_alone(tmp_path, pair):
    records = tmp_path / "records"
    first = prepare("mine", contents_of(pair), str(records))
    before = sorted(records.rglob("*"))
    pair.image.write_bytes(b"")
    other = Contents(**{**vars(contents_of(pair)), "fingerprint": "4567"})
    with pytest.raises(UserError):
        prepare("mine", other, str(records))
    assert sorted(records.rglob("*")) == before
    assert first.is_dir()


def test_files_are_array_records_with_the_classes_beside_them(tmp_path, pair):
    folder = prepare("mine", contents_of(pair), str(tmp_path / "records"))
    assert folder == tmp_path / "records/mine/0123/1.0.0"
    assert [p.name for p in folder.glob("*array_record*")] == [
        "mine-train.array_record-00000-of-00001"
    ]
    metadata = json.loads((folder / "metadata.json").read_text())
    assert metadata == {
        "class_names": ["a", "b", "c"],
        "palette": [[0, 0, 0], [128, 0, 0], [0, 128, 0]],
        "ignore_label": 255,
    }


def test_records_are_written_once(tmp_path, pair):
    folder = prepare("mine", contents_of(pair), str(tmp_path / "records"))
    stamps = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    pair.image.unlink()  # would be an error if it were read again
    assert prepare("mine", contents_of(pair), str(tmp_path / "records")) == folder
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == stamps


def test_two_processes_may_prepare_the_same_set(tmp_path, pair):
    records = str(tmp_path / "records")

    def overtaken():
        prepare("mine", contents_of(pair), records)  # finishes in our middle
        yield from verified_examples([pair], num_classes=3)

    contents = contents_of(pair)
    contents.splits["train"] = overtaken
    folder = prepare("mine", contents, records)
    assert [p.name for p in folder.parent.iterdir()] == ["1.0.0"]


def test_preparing_prints_nothing(tmp_path, pair, capfd):
    prepare("mine", contents_of(pair), str(tmp_path / "records"))
    out, err = capfd.readouterr()
    assert out == ""
    assert "%" not in err  # of a progress bar


def test_preparing_is_one_line_in_the_log(tmp_path, pair, caplog):
    caplog.set_level(logging.INFO, logger="ema_jax")
    folder = prepare("mine", contents_of(pair), str(tmp_path / "records"))
    assert caplog.messages == [f"preparing data set mine, once, in {folder}"]
    prepare("mine", contents_of(pair), str(tmp_path / "records"))
    assert len(caplog.messages) == 1


def test_opencv_reads_what_the_builder_keeps(tmp_path, pair):
    """The label in the record is no palette image any more."""
    [example] = verified_examples([pair], num_classes=3)
    raw = np.frombuffer(example.label, np.uint8)
    assert cv2.imdecode(raw, cv2.IMREAD_UNCHANGED).ndim == 2
    assert Path(pair.mask).read_bytes() != example.label
