import pickle
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from ema_jax.classes import voc_palette
from train.data import DATASETS, Dataset, open_dataset
from train.data.builder import Contents, Example
from train.data.dataset import open_named
from train.data.masks import encode_mask
from train.user.errors import UserError


def example(index):
    rng = np.random.default_rng(index)
    size = (10 + index % 7, 12 + index % 5)
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    _, png = cv2.imencode(".png", image[..., ::-1])
    label = rng.integers(0, 4, size, dtype=np.uint8)
    label[0] = 255
    return (
        Example(f"scene {index}", png.tobytes(), encode_mask(label), size),
        image,
        label,
    )


def contents(**splits):
    made = {
        split: (lambda listed=listed: iter(listed)) for split, listed in splits.items()
    }
    return Contents(("a", "b", "c", "d"), voc_palette(4), made, "0123")


def opened(tmp_path, **splits):
    openers = {"mine": lambda root: contents(**splits)}
    return open_named("mine", openers, root=None, data_dir=str(tmp_path))


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    return opened(
        tmp_path,
        train=[example(i)[0] for i in range(40)],
        val=[example(i)[0] for i in range(40, 43)],
    )


def test_what_a_dataset_says_of_itself(dataset):
    assert dataset.name == "mine"
    assert dataset.class_names == ("a", "b", "c", "d")
    assert dataset.num_classes == 4
    assert dataset.ignore_label == 255
    np.testing.assert_array_equal(dataset.palette, voc_palette(4))


def test_every_example_comes_back_as_it_was(dataset):
    source = dataset.source("train")
    assert len(source) == 40
    names = set()
    for index in range(40):
        got = source[index]
        assert set(got) == {"image", "label", "name"}
        _, image, label = example(int(got["name"].split()[1]))
        np.testing.assert_array_equal(got["image"], image)  # RGB, not BGR
        np.testing.assert_array_equal(got["label"], label)
        assert got["image"].dtype == got["label"].dtype == np.uint8
        names.add(got["name"])
    assert len(names) == 40
    assert len(dataset.source("val")) == 3


def test_sizes_follow_the_order_of_the_source(dataset):
    source, sizes = dataset.source("train"), dataset.sizes("train")
    assert sizes.shape == (40, 2)
    assert np.issubdtype(sizes.dtype, np.integer)
    for index in range(40):
        assert source[index]["label"].shape == tuple(sizes[index])


def test_sizes_decode_no_image(dataset, monkeypatch):
    def forbidden(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr(cv2, "imdecode", forbidden)
    assert dataset.sizes("val").shape == (3, 2)


def test_the_order_is_the_same_in_every_build(tmp_path, dataset):
    again = opened(tmp_path / "b", train=[example(i)[0] for i in reversed(range(40))])
    first, second = dataset.source("train"), again.source("train")
    assert [first[i]["name"] for i in range(40)] == [
        second[i]["name"] for i in range(40)
    ]


def test_threads_may_share_a_source(dataset):
    source = dataset.source("train")
    order = np.random.default_rng(0).integers(0, 40, 400).tolist()
    expected = [source[i]["name"] for i in range(40)]
    fresh = dataset.source("train")
    with ThreadPoolExecutor(8) as pool:
        got = [e["name"] for e in pool.map(fresh.__getitem__, order)]
    assert got == [expected[i] for i in order]


def test_sources_and_datasets_survive_pickling(dataset):
    source = pickle.loads(pickle.dumps(dataset.source("train")))
    assert source[3]["name"] == dataset.source("train")[3]["name"]
    assert len(pickle.loads(pickle.dumps(dataset)).source("val")) == 3


def test_index_out_of_range_is_an_index_error(dataset):
    with pytest.raises(IndexError):
        dataset.source("val")[3]
    with pytest.raises(IndexError):
        dataset.source("val")[-1]


@pytest.mark.parametrize("method", ["source", "sizes"])
@pytest.mark.parametrize("split", ["test", "train[:5]", ""])
def test_unknown_split(dataset, method, split):
    with pytest.raises(UserError) as error:
        getattr(dataset, method)(split)
    assert str(error.value) == (
        f"data set 'mine' has no split '{split}'; it has train, val"
    )


def test_unknown_name():
    with pytest.raises(UserError) as error:
        open_dataset("voc", root=None, data_dir=None)
    message = str(error.value)
    assert "config.data.name='voc' is unknown" in message
    assert "did you mean 'voc2012'" in message
    assert f"There are: {', '.join(sorted(DATASETS))}" in message
    assert {"folder", "shapes", "voc2012", "voc2012aug"} <= set(DATASETS)


@pytest.mark.parametrize("name", ["folder", "cityscapes"])
def test_missing_root(tmp_path, name):
    with pytest.raises(UserError) as error:
        open_dataset(name, root=None, data_dir=str(tmp_path))
    assert f"'{name}'" in str(error.value)
    assert "--config.data.root=" in str(error.value)
    absent = tmp_path / "absent"
    with pytest.raises(UserError) as error:
        open_dataset(name, root=str(absent), data_dir=str(tmp_path))
    assert f"{absent}: no such folder" in str(error.value)
    assert "--config.data.root=" in str(error.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image", b"rubbish"),
        ("image", b""),
        ("label", b"rubbish"),
        ("label", encode_mask(np.zeros((2, 2), np.uint8))),
    ],
)
def test_a_damaged_record_is_named(tmp_path, field, value):
    good, _, _ = example(0)
    source = opened(tmp_path, val=[good._replace(**{field: value})]).source("val")
    with pytest.raises(UserError) as error:
        source[0]
    message = str(error.value)
    assert "mine/val[0] (name scene 0): the record is damaged" in message
    assert f"delete {tmp_path / 'mine/0123/1.0.0'}" in message


def test_a_label_in_colours_is_refused_at_reading(tmp_path, write_mask):
    good, _, label = example(0)
    palette = write_mask(tmp_path / "mask.png", label).read_bytes()
    source = opened(tmp_path, val=[good._replace(label=palette)]).source("val")
    with pytest.raises(UserError, match=r"not uint8 \(H, W\)"):
        source[0]


def test_damaged_bytes_on_disk_are_named(tmp_path, dataset):
    [path] = (tmp_path / "mine/0123/1.0.0").glob("*train*")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    path.write_bytes(data)
    source = dataset.source("train")
    messages = {}
    for index in range(40):
        try:
            source[index]
        except UserError as error:
            messages[index] = str(error)
    assert messages
    for index, message in messages.items():
        assert f"mine/train[{index}] (name " in message


def test_a_missing_record_file_is_named(tmp_path, dataset):
    [path] = (tmp_path / "mine/0123/1.0.0").glob("*val*")
    path.unlink()
    with pytest.raises(UserError, match=r"mine/val\[0\] \(name unknown\)"):
        dataset.source("val")[0]


def test_damaged_description_of_the_records(tmp_path, dataset):
    (tmp_path / "mine/0123/1.0.0/dataset_info.json").write_text("{")
    with pytest.raises(UserError, match=r"1\.0\.0: the prepared records cannot be op"):
        dataset.source("train")
