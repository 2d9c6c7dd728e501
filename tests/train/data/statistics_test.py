"""What splits hold, counted by hand, once."""

import numpy as np
from PIL import Image

from tests.splits import TRAIN, open_splits
from train.data import open_dataset, statistics
from train.data.statistics import read_statistics


def test_what_is_counted(tmp_path):
    dataset = open_splits(tmp_path)
    counted = read_statistics(dataset, "train")
    assert sorted(counted.names) == ["a", "b", "c"]
    assert counted.pixels.tolist() == [48, 48, 24]
    assert counted.images.tolist() == [2, 2, 1]
    assert counted.extent.tolist() == [96, 72, 48]
    assert counted.ignored == 24 / 144
    assert counted.kind_counts == {"PNG, 8-bit RGB": 3}
    assert sorted(map(tuple, counted.sizes)) == [(6, 8)] * 3


def test_it_is_counted_once(tmp_path, monkeypatch):
    dataset = open_splits(tmp_path)
    first = read_statistics(dataset, "train")
    monkeypatch.setattr(statistics, "count", None)
    again = read_statistics(dataset, "train")
    assert again.digest == first.digest
    np.testing.assert_array_equal(again.table, first.table)


def test_statistics_that_are_torn_are_counted_again(tmp_path):
    dataset = open_splits(tmp_path)
    first = read_statistics(dataset, "train")
    [path] = (p for p in (statistics.Path(dataset.folder)).rglob("train.npz"))
    path.write_bytes(path.read_bytes()[:100])
    assert read_statistics(dataset, "train").digest == first.digest


def test_the_content_is_not_the_place_nor_the_order(tmp_path):
    first = read_statistics(open_splits(tmp_path), "train").digest
    (tmp_path / "train.txt").write_text("c\nb\na")
    records = str(tmp_path / "others")
    again = open_dataset("folder", root=str(tmp_path), data_dir=records)
    assert read_statistics(again, "train").digest == first
    changed = open_splits(tmp_path, TRAIN | {"c": (255, 1)})
    assert read_statistics(changed, "train").digest != first


def test_a_turned_photograph_is_described():
    image = Image.fromarray(np.zeros((4, 6, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    data = statistics.io.BytesIO()
    image.save(data, "JPEG", exif=exif)
    described = statistics.describe(data.getvalue())
    assert described == "JPEG, 8-bit RGB, turned by its flag"
    assert statistics.describe(b"none") == "an image of another kind"
