"""VOC and SBD, in the folders and formats of the two archives."""

import hashlib
import tarfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

from ema_jax.classes import voc_palette
from train import data
from train.data import voc, voc_aug
from train.data.voc_aug import SIZES, open_voc2012aug

SAMPLE = Path(__file__).parents[4] / "shared/data/voc_sample"
VOC = {"train": ["2007_000032", "2007_000039"], "val": ["2007_000033"]}
SBD = {
    "train.txt": ["2007_000032", "2008_000008", "2008_000015"],
    "val.txt": ["2007_000033", "2008_000002"],  # the first is in VOC's val
}
AUG = {*VOC["train"], "2008_000008", "2008_000015", "2008_000002"}
SMALL = {"train": 2, "trainaug": 5, "val": 1, "trainval": 3}


@pytest.fixture
def root(tmp_path, write_photo, write_mask, write_list, indices):
    """A folder with VOCdevkit, whose masks have ignored borders, as unpacked."""
    root = tmp_path / "data"
    home = root / "VOCdevkit/VOC2012"
    for seed, name in enumerate(sorted({*AUG, *VOC["val"]})):
        write_photo(home / f"JPEGImages/{name}.jpg", seed=seed)
    lists = VOC | {"trainval": sorted(VOC["train"] + VOC["val"])}
    for split, names in lists.items():
        write_list(home / f"ImageSets/Segmentation/{split}.txt", names)
        for name in names:
            write_mask(home / f"SegmentationClass/{name}.png", indices)
    return root


@pytest.fixture
def sbd_mask(indices):
    return np.where(indices == 255, 0, 20 * (indices > 0)).astype(np.uint8)


@pytest.fixture
def sbd(root, write_mat, write_list, write_photo, sbd_mask):
    """benchmark_RELEASE next to it, with the real nesting of the `.mat` files."""
    home = root / "benchmark_RELEASE/dataset"
    edges = np.empty((20, 1), object)
    edges[:, 0] = [scipy.sparse.csc_matrix(sbd_mask > 0)] * 20
    for file, names in SBD.items():
        write_list(home / file, names)
        for name in names:
            write_photo(home / f"img/{name}.jpg")
            fields = {"Boundaries": edges, "Segmentation": sbd_mask}
            fields["CategoriesPresent"] = np.array([[20.0]])
            write_mat(home / f"cls/{name}.mat", "GTcls", fields)
    return home


def check(dataset, labels, indices, sbd_mask):
    assert dataset.class_names == voc.CLASS_NAMES
    np.testing.assert_array_equal(dataset.palette, voc_palette(21))
    aug = labels(dataset, "trainaug")
    assert set(aug) == AUG
    assert not set(aug) & set(VOC["val"])
    for name, label in aug.items():
        own = name in VOC["train"]
        np.testing.assert_array_equal(label, indices if own else sbd_mask)
    for split, count in SMALL.items():
        assert len(dataset.source(split)) == count


def test_both_folders(root, sbd, prepare, labels, indices, sbd_mask):
    dataset = prepare("voc2012aug", open_voc2012aug, root, **SMALL)
    check(dataset, labels, indices, sbd_mask)


def test_root_may_be_the_devkit(root, sbd, prepare):
    folders = {
        prepare("voc2012aug", open_voc2012aug, folder, **SMALL).folder
        for folder in (root, root / "VOCdevkit", root / "VOCdevkit/VOC2012")
    }
    assert len(folders) == 1


def test_a_ready_folder(root, sbd_mask, write_mask, prepare, labels, indices):
    """With masks of VOC's val among them, as in the one most people have."""
    for name in {*AUG, *VOC["val"]}:
        path = root / f"VOCdevkit/VOC2012/SegmentationClassAug/{name}.png"
        write_mask(path, sbd_mask)
    dataset = prepare("voc2012aug", open_voc2012aug, root, **SMALL)
    check(dataset, labels, indices, sbd_mask)


@pytest.fixture
def packed(tmp_path, root, sbd, monkeypatch):
    """The two archives, by their names, in a folder of their own."""
    folder, found = tmp_path / "archives", []
    folder.mkdir()
    for archive, mode in zip(voc_aug.ARCHIVES, ("w", "w:gz"), strict=True):
        path = folder / archive.file
        with tarfile.open(path, mode) as tar:
            tar.add(root / archive.folder, archive.folder)
        checksum = f"md5:{hashlib.md5(path.read_bytes()).hexdigest()}"
        found.append(replace(archive, checksum=checksum, url=path.as_uri()))
    monkeypatch.setitem(data.ARCHIVES, "voc2012aug", tuple(found))
    opener = partial(open_voc2012aug, sizes=SMALL)
    monkeypatch.setitem(data.DATASETS, "voc2012aug", opener)
    return folder


@pytest.mark.parametrize("fetched", [False, True])
def test_archives(tmp_path, packed, labels, indices, sbd_mask, fetched):
    records = str(tmp_path / "records")
    root = None if fetched else str(packed)
    dataset = data.open_dataset("voc2012aug", root=root, data_dir=records)
    check(dataset, labels, indices, sbd_mask)
    again = data.open_dataset("voc2012aug", root=root, data_dir=records)
    assert again.folder == dataset.folder


def test_the_published_sizes(root, sbd, refused):
    assert SIZES == {"train": 1464, "trainaug": 10582, "val": 1449, "trainval": 2913}
    message = refused("voc2012aug", open_voc2012aug, root, **SIZES)
    assert "split 'train' has 2 images, and the published one 1464" in message


@pytest.mark.parametrize("split", SMALL)
@pytest.mark.parametrize("change", [-1, 1])
def test_a_short_or_long_split(root, sbd, refused, split, change):
    sizes = SMALL | {split: SMALL[split] + change}
    message = refused("voc2012aug", open_voc2012aug, root, **sizes)
    assert f"split '{split}' has {SMALL[split]} images" in message
    assert f"the published one {SMALL[split] + change}; unpack the whole" in message


def test_no_sbd(root, refused):
    message = refused("voc2012aug", open_voc2012aug, root, **SMALL)
    assert f"{root}: no benchmark_RELEASE/dataset/cls below it" in message
    assert "put benchmark.tgz (from https://www2.eecs.berkeley.edu/" in message


def test_no_voc(tmp_path, refused):
    message = refused("voc2012aug", open_voc2012aug, tmp_path, **SMALL)
    assert f"{tmp_path}: no VOCdevkit/VOC2012/ImageSets/Segmentation" in message
    assert "put VOCtrainval_11-May-2012.tar (from http://host.robots.ox" in message


def test_a_damaged_mat_in_the_middle(root, sbd, refused):
    path = sbd / "cls/2008_000002.mat"
    path.write_bytes(path.read_bytes()[:300])
    message = refused("voc2012aug", open_voc2012aug, root, **SMALL)
    assert f"{path}: has no readable GTcls.Segmentation" in message


def test_a_damaged_jpeg_in_the_middle(root, sbd, refused):
    path = root / "VOCdevkit/VOC2012/JPEGImages/2008_000008.jpg"
    path.write_bytes(path.read_bytes()[:-100])
    message = refused("voc2012aug", open_voc2012aug, root, **SMALL)
    assert f"{path}: cannot be read as an image" in message


def test_a_listed_mat_is_missing(root, sbd, refused):
    (sbd / "cls/2008_000015.mat").unlink()
    message = refused("voc2012aug", open_voc2012aug, root, **SMALL)
    assert f"{sbd / 'train.txt'}:3: '2008_000015' has no mask in" in message


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="needs ../shared/data/voc_sample")
def test_real_images_with_masks_of_sbd(tmp_path, prepare, labels, write_mat):
    """The four real images; one of them takes its mask from a `.mat` file."""
    home = tmp_path / "VOCdevkit/VOC2012"
    source = SAMPLE / "VOCdevkit/VOC2012"
    names = sorted(path.stem for path in (source / "SegmentationClass").glob("*.png"))
    assert len(names) == 4
    (home / "ImageSets/Segmentation").mkdir(parents=True)
    for folder in ("JPEGImages", "SegmentationClass"):
        (home / folder).symlink_to(source / folder)
    splits = {"train": names[:2], "val": names[2:3], "trainval": names[:3]}
    for split, listed in splits.items():
        path = home / f"ImageSets/Segmentation/{split}.txt"
        path.write_text("\n".join(listed))
    mask = voc_aug.read_label(home / f"SegmentationClass/{names[3]}.png")
    sbd = tmp_path / "benchmark_RELEASE/dataset"
    bare = np.where(mask == 255, 0, mask)
    write_mat(sbd / f"cls/{names[3]}.mat", "GTcls", {"Segmentation": bare})
    for split in ("train.txt", "val.txt"):
        (sbd / split).write_text(f"{names[3]}\n{names[2]}\n")
    sizes = {"train": 2, "trainaug": 3, "val": 1, "trainval": 3}
    dataset = prepare("voc2012aug", open_voc2012aug, tmp_path, **sizes)
    aug = labels(dataset, "trainaug")
    assert set(aug) == {*names[:2], names[3]}
    np.testing.assert_array_equal(aug[names[3]], bare)
