import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ema_jax.classes import voc_palette
from train.data.masks import decode_mask, encode_mask, read_mask
from train.user.errors import UserError

VOC = Path(__file__).parents[4] / "shared/data/voc_sample/VOCdevkit/VOC2012"


def test_palette_png_gives_indices_where_opencv_gives_colours(
    tmp_path, write_mask, indices
):
    path = write_mask(tmp_path / "mask.png", indices)
    assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).ndim == 3  # the trap
    mask = read_mask(path)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, indices)


def test_four_bit_palette_png_gives_indices(tmp_path):
    values = (np.arange(12) % 11).astype(np.uint8).reshape(3, 4)
    image = Image.fromarray(values).convert("L")
    image.putpalette(np.arange(48, dtype=np.uint8).tobytes())
    image.save(tmp_path / "mask.png", bits=4)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), values)


def test_grey_png_and_bytes_are_taken_as_they_are(tmp_path, indices):
    Image.fromarray(indices).save(tmp_path / "mask.png")
    data = (tmp_path / "mask.png").read_bytes()
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), indices)
    np.testing.assert_array_equal(read_mask(str(tmp_path / "mask.png")), indices)
    np.testing.assert_array_equal(read_mask(data), indices)


def test_bilevel_png_is_zero_and_one(tmp_path):
    values = np.array([[0, 1, 1], [1, 0, 0]], bool)
    Image.fromarray(values).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), values)


@pytest.mark.parametrize(
    ("array", "mode"),
    [
        (np.zeros((4, 5), np.uint16), "I;16"),
        (np.zeros((4, 5, 3), np.uint8), "RGB"),
        (np.zeros((4, 5, 4), np.uint8), "RGBA"),
    ],
)
def test_masks_that_hold_no_indices_are_refused(tmp_path, array, mode):
    path = tmp_path / "mask.png"
    Image.fromarray(array).save(path)
    with pytest.raises(UserError) as error:
        read_mask(path)
    assert str(path) in str(error.value)
    assert f"mode {mode}," in str(error.value)
    assert "convert it to a palette or 8-bit greyscale PNG" in str(error.value)


def test_jpeg_masks_are_refused(tmp_path, indices):
    Image.fromarray(indices).save(tmp_path / "mask.jpg")
    with pytest.raises(UserError, match=r"mask\.jpg: is a JPEG.*as PNG"):
        read_mask(tmp_path / "mask.jpg")


def test_damaged_and_missing_masks_are_named(tmp_path, write_mask, indices):
    path = write_mask(tmp_path / "mask.png", indices)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"mask\.png: cannot be read as a mask"):
        read_mask(path)
    with pytest.raises(UserError, match=r"none\.png: cannot be read as a mask"):
        read_mask(tmp_path / "none.png")
    with pytest.raises(UserError, match="the mask: cannot be read"):
        read_mask(b"not an image")


def test_encoded_masks_are_greyscale_png_for_every_decoder(indices):
    png = encode_mask(indices)
    with Image.open(io.BytesIO(png)) as image:
        assert (image.format, image.mode) == ("PNG", "L")
        np.testing.assert_array_equal(np.asarray(image), indices)
    np.testing.assert_array_equal(decode_mask(png), indices)


def test_encode_refuses_what_is_no_mask():
    with pytest.raises(ValueError, match="int64"):
        encode_mask(np.zeros((2, 2), np.int64))
    with pytest.raises(ValueError, match=r"\(2, 2, 3\)"):
        encode_mask(np.zeros((2, 2, 3), np.uint8))


def test_decode_refuses_colours_and_rubbish(tmp_path, write_mask, indices):
    data = write_mask(tmp_path / "mask.png", indices).read_bytes()
    with pytest.raises(ValueError, match=r"\(20, 30, 3\), not uint8 \(H, W\)"):
        decode_mask(data)
    with pytest.raises(ValueError, match="not a readable image"):
        decode_mask(b"rubbish")


def test_voc_palette_is_the_published_one():
    palette = voc_palette(21)
    assert palette.dtype == np.uint8
    published = {
        0: (0, 0, 0),
        1: (128, 0, 0),
        2: (0, 128, 0),
        3: (128, 128, 0),
        7: (128, 128, 128),
        8: (64, 0, 0),
        15: (192, 128, 128),
        16: (0, 64, 0),
        20: (0, 64, 128),
    }
    for index, colour in published.items():
        assert tuple(palette[index]) == colour
    assert tuple(voc_palette(256)[255]) == (224, 224, 192)  # the border in VOC files


@pytest.mark.skipif(not VOC.is_dir(), reason="needs ../shared/data/voc_sample")
def test_real_voc_masks():
    paths = sorted((VOC / "SegmentationClass").glob("*.png"))
    assert len(paths) == 4
    for path in paths:
        with Image.open(path) as image:
            colours = np.array(image.getpalette(), np.uint8).reshape(-1, 3)
            rgb = np.asarray(image.convert("RGB"))
        np.testing.assert_array_equal(colours[:21], voc_palette(21))
        mask = read_mask(path)
        assert set(np.unique(mask)) <= {*range(21), 255}
        assert 255 in mask
        np.testing.assert_array_equal(voc_palette(256)[mask], rgb)
