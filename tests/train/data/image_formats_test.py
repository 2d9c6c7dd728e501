"""Images as cameras and instruments write them, to the pixel and through a training."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from train.data import dataset, open_dataset
from train.user.errors import UserError

MASK = np.zeros((20, 30), np.uint8)
MASK[2:8, 3:13] = 1
MASK[10:18, 20:29] = 2
RAMP = np.linspace(0, 1, 600).reshape(20, 30)


@pytest.fixture
def root(tmp_path):
    """Masks alone, of images named a and b, for training and for validation."""
    for name in ("train/a", "val/b"):
        for kind in ("images", "labels"):
            (tmp_path / "root" / kind / name).parent.mkdir(parents=True)
        Image.fromarray(MASK).save(tmp_path / f"root/labels/{name}.png")
    (tmp_path / "root/classes.txt").write_text("background\ncat\ndog\n")
    return tmp_path / "root"


@pytest.fixture
def opened(root, open_root, trains):
    """(suffix, write(path), **options) -> the image that a training has seen."""

    def opened(suffix, write, **options):
        for name in ("train/a", "val/b"):
            write(str(root / f"images/{name}{suffix}"))
        dataset = open_root(**options)
        assert trains(dataset) == MASK.size
        first, second = (
            dataset.source(split)[0]["image"] for split in ("train", "val")
        )
        np.testing.assert_array_equal(first, second)
        return first

    return opened


def tiff(array, **options):
    return lambda path: tifffile.imwrite(path, array, **options)


@pytest.mark.parametrize(
    ("array", "options", "expected"),
    [
        ((4095 * RAMP).astype(np.uint16), {}, 255 * RAMP),
        ((200 * RAMP).astype(np.uint16), {}, 200 * RAMP),
        ((60000 * RAMP).astype(np.uint16), {}, 60000 / 65535 * 255 * RAMP),
        ((4095 * RAMP).astype(np.uint16), {"value_range": (0, 2047)}, 510 * RAMP),
        (RAMP.astype(np.float32), {}, 255 * RAMP),
        ((1000 * RAMP - 500).astype(np.float32), {}, 255 * RAMP),
    ],
)
def test_many_bits_become_eight(opened, array, options, expected):
    image = opened(".tif", tiff(array), **options)
    wanted = np.clip(expected, 0, 255)[..., None]
    assert np.abs(image - wanted).max() <= 1
    assert image.shape == (20, 30, 3)


def test_records_are_never_without_their_range(root, open_root, monkeypatch):
    """Were it written after them, a training killed between the two would lose it."""
    write, found = dataset._write, []

    def watched(builder):
        write(builder)
        found.append(Path(builder.data_path, "value_range.json").read_text())

    monkeypatch.setattr(dataset, "_write", watched)
    for name in ("train/a", "val/b"):
        tiff((4095 * RAMP).astype(np.uint16))(root / f"images/{name}.tif")
    assert open_root().value_range == (0, 4095)
    assert found == ["[0.0, 4095.0]"]


def test_sixteen_bits_in_colour_keep_their_order(opened):
    array = np.zeros((20, 30, 3), np.uint16)
    array[..., 2] = 65535  # red, to OpenCV
    image = opened(".png", lambda path: cv2.imwrite(path, array))
    np.testing.assert_array_equal(image[0, 0], [255, 0, 0])


def test_cmyk(opened):
    red = Image.new("CMYK", (30, 20), (0, 255, 255, 0))
    image = opened(".tif", red.save)
    assert np.abs(image[0, 0].astype(int) - [255, 0, 0]).max() < 8


@pytest.mark.parametrize(
    ("suffix", "most"), [(".jpg", 24), (".bmp", 0), (".webp", 24), (".avif", 24)]
)
def test_other_formats(opened, suffix, most):
    pixels = np.round(255 * np.dstack([RAMP, 1 - RAMP, RAMP])).astype(np.uint8)
    image = opened(suffix, Image.fromarray(pixels).save)
    assert np.abs(image.astype(int) - pixels).max() <= most


def test_heic(opened):
    pillow_heif = pytest.importorskip("pillow_heif", reason="a plugin, not installed")
    pillow_heif.register_heif_opener()
    pixels = np.round(255 * np.dstack([RAMP, 1 - RAMP, RAMP])).astype(np.uint8)
    image = opened(".heic", Image.fromarray(pixels).save)
    assert np.abs(image.astype(int) - pixels).max() <= 24


def test_heic_that_cannot_be_read(root, open_root):
    for name in ("train/a", "val/b"):
        (root / f"images/{name}.heic").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(UserError, match=r"a\.heic: cannot be read as an image"):
        open_root()


# Other numbers of channels.

DEEP = np.random.default_rng(3).integers(0, 4096, (20, 30, 5)).astype(np.uint16)
BYTES = (DEEP % 256).astype(np.uint8)
MINISBLACK = {"photometric": "minisblack"}


@pytest.mark.parametrize(
    ("array", "options"),
    [
        (BYTES, {"planarconfig": "contig", **MINISBLACK}),
        (BYTES.transpose(2, 0, 1), {"planarconfig": "separate", **MINISBLACK}),
        (BYTES.transpose(2, 0, 1), MINISBLACK),  # a page each
        (BYTES.transpose(2, 0, 1), {"compression": "deflate", **MINISBLACK}),
    ],
)
def test_five_channels(opened, array, options):
    image = opened(".tif", tiff(array, **options), in_channels=5)
    np.testing.assert_array_equal(image, BYTES)


@pytest.mark.parametrize("count", [2, 4, 5])
def test_channels_of_many_bits(opened, count):
    array = DEEP[..., :count]
    image = opened(
        ".tif", tiff(array, planarconfig="contig", **MINISBLACK), in_channels=count
    )
    assert np.abs(image - array / 4095 * 255).max() <= 0.5


def test_colour_and_a_fourth_channel(opened):
    image = opened(".png", Image.fromarray(BYTES[..., :4], "RGBA").save, in_channels=4)
    np.testing.assert_array_equal(image, BYTES[..., :4])


@pytest.mark.parametrize("colored", [True, False])
def test_one_channel(opened, colored):
    """Pillow's luminance, or the values as they are."""
    picture = Image.fromarray(BYTES[..., :3] if colored else BYTES[..., 0])
    image = opened(".png", picture.save, in_channels=1)
    expected = np.asarray(picture.convert("L"), int)[..., None]
    assert np.abs(image - expected).max() <= colored


@pytest.mark.parametrize(
    ("array", "channels", "said"),
    [
        (BYTES, 3, "has 5 channels; write RGB, or set config.model.in_channels=5"),
        (BYTES[..., :2], 3, "has 2 channels; write RGB, or set config.model.in_cha"),
        (BYTES[..., :4], 3, "has 4 channels; write RGB, or set config.model.in_cha"),
        (BYTES, 4, r"has shape \(20, 30, 5\), and config.model.in_channels is 4"),
        (BYTES[..., 0], 2, r"has shape \(20, 30\), and config.model.in_channels is 2"),
    ],
)
def test_channels_that_do_not_fit(opened, array, channels, said):
    contiguous = {"planarconfig": "contig"} if array.ndim == 3 else {}
    write = tiff(array, **contiguous, **MINISBLACK)
    with pytest.raises(UserError, match=rf"a\.tif: cannot be read as .*{said}"):
        opened(".tif", write, in_channels=channels)


def test_an_orientation_flag_of_many_channels(opened):
    tag = (274, "H", 1, 6, True)  # Orientation: turned
    write = tiff(BYTES, planarconfig="contig", extratags=[tag], **MINISBLACK)
    with pytest.raises(UserError, match="has an orientation flag; write it upright"):
        opened(".tif", write, in_channels=5)


def test_channels_of_a_published_set():
    with pytest.raises(UserError, match=r"in_channels=4 is for the data"):
        open_dataset("shapes", root=None, data_dir=None, in_channels=4)
