"""What is a picture, and what is told of anything else."""

import numpy as np
import pytest
from PIL import Image

from ema_jax.pixels import as_images, as_pixels

IMAGE = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "uint16", "float16", "float64"])
def test_bytes_in_any_type(dtype):
    found = as_pixels(IMAGE.astype(dtype), "it")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, IMAGE)


def test_fractions_are_rounded():
    assert as_pixels([[[0.4, 99.6, 254.9]]], "it").tolist() == [[[0, 100, 255]]]


def test_black_is_a_picture():
    assert not as_pixels(np.zeros((2, 2, 3)), "it").any()


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        (np.full((2, 2, 3), -0.5), "it holds values from -0.5 to -0.5; give RGB from"),
        (np.full((2, 2, 3), 256), "it holds values from 256 to 256; give RGB from 0"),
        (np.full((2, 2, 3), 0.7), "values from 0.7 to 0.7, which is black; .* by 255"),
        (
            np.full((2, 2, 3), np.nan),
            "it holds NaN or infinity; give RGB from 0",
        ),
        (np.full((2, 2, 3), np.inf), "it holds NaN or infinity"),
        (np.zeros((2, 2, 3), bool), "it has type bool; give uint8"),
        (np.zeros((2, 2, 3), complex), "it has type complex128; give uint8"),
        (np.full((2, 2, 3), "a"), "it has type <U1; give uint8"),
        (None, r"it has shape \(\); give \(H, W, 3\)"),
        (np.zeros((5, 7, 4)), r"it has shape \(5, 7, 4\); drop its fourth channel"),
        (np.zeros((3, 5, 7)), r"it has shape \(3, 5, 7\); its channels come first"),
        (np.zeros((5, 7)), r"it has shape \(5, 7\); it is grey: give \(H, W, 3\)"),
        (np.zeros((5, 7, 2)), r"it has shape \(5, 7, 2\); give \(H, W, 3\)"),
        (np.zeros((0, 7, 3)), r"it has shape \(0, 7, 3\); give at least one pixel"),
    ],
)
def test_what_is_no_picture(image, wanted):
    with pytest.raises(ValueError, match=wanted) as error:
        as_pixels(image, "it")
    assert "\n" not in str(error.value)


def test_pictures_of_pillow_are_seen_in_their_colours():
    numbers = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    colors = np.array([[250, 0, 0], [0, 200, 100], [7, 8, 9]], np.uint8)
    palette = Image.fromarray(numbers, mode="P")
    palette.putpalette(colors.ravel().tolist())
    rgba = Image.fromarray(np.dstack([colors[numbers], numbers]))
    for picture in (palette, rgba, Image.fromarray(colors[numbers])):
        found, single = as_images(picture)
        assert single
        np.testing.assert_array_equal(found[0], colors[numbers])
    grey = Image.fromarray(numbers)
    np.testing.assert_array_equal(as_pixels(grey, "it"), np.dstack([numbers] * 3))
    np.testing.assert_array_equal(as_pixels(grey, "it", 1), numbers[..., None])
    np.testing.assert_array_equal(as_images([palette])[0][0], colors[numbers])
    bits = Image.fromarray(numbers > 0)
    assert (
        as_pixels(bits, "it").tolist()
        == (255 * (numbers > 0))[..., None].repeat(3, -1).tolist()
    )
    np.testing.assert_array_equal(as_pixels(bits, "it", 1)[..., 0], 255 * (numbers > 0))
    with pytest.raises(ValueError, match=r"it has shape \(2, 3\)"):  # of 16 bits
        as_pixels(Image.fromarray(numbers.astype(np.uint16)), "it")


@pytest.mark.parametrize(
    ("mode", "value", "red_green_blue"),
    [
        ("LA", (90, 7), (90, 90, 90)),
        ("RGBX", (1, 2, 3, 4), (1, 2, 3)),
        ("RGBa", (10, 20, 30, 255), (10, 20, 30)),
        ("CMYK", (255, 0, 55, 0), (0, 255, 200)),
        ("YCbCr", (100, 128, 128), (100, 100, 100)),
        ("HSV", (0, 255, 200), (200, 0, 0)),
        ("LAB", (255, 128, 128), (255, 255, 255)),
    ],
)
def test_other_modes_of_pillow(mode, value, red_green_blue):
    picture = Image.new(mode, (3, 2), value)
    found = as_pixels(picture, "it").astype(int)
    assert np.abs(found - red_green_blue).max() <= 1
    weights = np.array([0.299, 0.587, 0.114])  # of luma, as television has it
    grey = as_pixels(picture, "it", 1)
    assert grey.shape == (2, 3, 1)
    assert np.abs(grey - weights @ red_green_blue).max() <= 1


@pytest.mark.filterwarnings("error")
def test_a_palette_with_transparency():
    picture = Image.new("P", (3, 2), 1)
    picture.putpalette([0, 0, 0, 250, 100, 50])
    picture.info["transparency"] = bytes([255, 0])
    assert (as_pixels(picture, "it") == [250, 100, 50]).all()


def test_what_has_a_mode_and_is_not_of_pillow():
    class Array(np.ndarray):
        mode = "RGB"

    np.testing.assert_array_equal(as_images(IMAGE.view(Array))[0][0], IMAGE)
    Array.mode = np.zeros(3)
    np.testing.assert_array_equal(as_pixels(IMAGE.view(Array), "it"), IMAGE)


def test_a_single_picture_is_read_once():
    class Lazy:
        reads = 0

        def __array__(self, dtype=None, copy=None):
            self.reads += 1
            return IMAGE

    lazy = Lazy()
    np.testing.assert_array_equal(as_images(lazy)[0][0], IMAGE)
    assert lazy.reads == 1


def test_one_picture_or_several():
    other = IMAGE[:2]
    for images, wanted, single in (
        (IMAGE, [IMAGE], True),
        ([IMAGE], [IMAGE], False),
        ((IMAGE, other), [IMAGE, other], False),
        (np.stack([IMAGE, IMAGE]), [IMAGE, IMAGE], False),
    ):
        found, alone = as_images(images)
        assert alone == single
        for actual, expected in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("images", [[], (), np.zeros((0, 5, 7, 3), np.uint8)])
def test_no_picture(images):
    with pytest.raises(ValueError, match="images is empty; give at least one image"):
        as_images(images)


def test_the_bad_one_of_several_is_named():
    with pytest.raises(ValueError, match=r"images\[1\] has shape \(5, 7\)"):
        as_images([IMAGE, IMAGE[..., 0]])
