"""Files as they come from a browser, and the folder of examples."""

import io
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from ema_jax.classes import Classes, voc_palette
from tests.train.demo.conftest import png
from train.data.shapes import CLASS_NAMES, scene
from train.demo.examples import MAX_EXAMPLES, read_examples, scenes
from train.demo.reading import MAX_BYTES, read_photo
from train.user.errors import UserError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (30, 20, 3), dtype=np.uint8)


def test_the_pixels_are_those_of_the_file():
    photo = read_photo("C:\\me\\a.b.png", png(PIXELS), 64)
    np.testing.assert_array_equal(photo.pixels, PIXELS)
    assert (photo.name, photo.size, photo.original) == ("a.b", (30, 20), (30, 20))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_become_eight(suffix):
    deep = PIXELS[..., 0].astype(np.uint16) * 257
    _, data = cv2.imencode(f".{suffix}", deep)
    photo = read_photo(f"x.{suffix}", data.tobytes(), 64)
    np.testing.assert_array_equal(photo.pixels, np.dstack(3 * [PIXELS[..., 0]]))
    halved = read_photo(f"x.{suffix}", data.tobytes(), 64, value_range=(0, 2 * 65535))
    assert halved.pixels.max() <= 128


def test_one_channel_for_a_network_of_one():
    data = png(PIXELS[..., 0])
    np.testing.assert_array_equal(
        read_photo("x.png", data, 64, channels=1).pixels, PIXELS[..., :1]
    )
    assert read_photo("x.png", data, 15, channels=1).pixels.shape == (15, 10, 1)


def test_shrinking_takes_the_mean():
    large = PIXELS.repeat(2, 0).repeat(2, 1)
    photo = read_photo("x.png", png(large), 30)
    np.testing.assert_array_equal(photo.pixels, PIXELS)
    assert photo.original == (60, 40)


def test_a_turned_camera():
    data, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PIXELS).save(data, "JPEG", exif=exif)
    photo = read_photo("x.jpg", data.getvalue(), 64)
    assert photo.size == photo.original == (20, 30)


@pytest.mark.parametrize("side", [9_000, 20_000])
def test_a_small_file_of_a_huge_image_is_not_decoded(side, monkeypatch):
    """9000² is beyond our bound, 20000² beyond Pillow's too."""
    monkeypatch.setattr("train.demo.reading.decode_any", None)
    data = bytearray(png(np.zeros((1, 1), np.uint8)))
    header = b"IHDR" + side.to_bytes(4, "big") * 2 + data[24:29]
    data[12:33] = header + zlib.crc32(header).to_bytes(4, "big")
    with pytest.raises(UserError, match=r"megapixels|too many pixels"):
        read_photo("x.png", bytes(data), 64)


def test_too_many_bytes():
    with pytest.raises(UserError, match="more than 32 MiB; make it smaller"):
        read_photo("x.png", bytes(MAX_BYTES + 1), 64)


def test_examples_of_a_folder(tmp_path, caplog):
    for number in range(MAX_EXAMPLES + 1):
        (tmp_path / f"{number:02}.png").write_bytes(png(PIXELS))
    (tmp_path / "03.png").write_text("no image")
    found = read_examples(str(tmp_path), 15, channels=3)
    assert [photo.name for photo in found][:4] == ["00", "01", "02", "04"]
    assert len(found) == MAX_EXAMPLES - 1
    assert found[0].size == (15, 10)


def test_folders_without_examples(tmp_path):
    for folder, said in ((tmp_path / "no", "no such folder"), (tmp_path, "no image")):
        with pytest.raises(UserError, match=f"^--examples={folder}: .*{said}"):
            read_examples(str(folder), 15, channels=3)


def test_scenes_are_those_of_their_network():
    found = scenes(Classes(CLASS_NAMES, voc_palette(7)))
    np.testing.assert_array_equal(found[0].pixels, scene(600)[0])
    assert scenes(Classes((), voc_palette(7))) == []
