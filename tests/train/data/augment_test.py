import itertools
import zlib

import numpy as np
import pytest

from ema_jax.preprocessing import IMAGENET
from tests.golden import augment_cases
from tests.golden.rebuild import golden
from train.data import augment as A

SIZES = [(7, 9), (1, 6), (6, 1), (1, 1), (13, 5)]


def textured(size, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    label = rng.integers(0, 21, size, dtype=np.uint8)
    return image, label


def bilinear_reference(image, size):
    """Align-corners bilinear in float64: hats around each pixel, along each axis."""

    def hats(before, after):
        place = np.arange(after) * (before - 1) / max(1, after - 1)
        return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(before)))

    rows, columns = map(hats, image.shape, size)
    return np.einsum("Hh,Ww,hwc->HWc", rows, columns, image, optimize=True)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("target", [(7, 9), (1, 1), (1, 8), (11, 1), (24, 31), (3, 4)])
def test_images_are_resized_bilinearly_with_aligned_corners(size, target):
    image, _ = textured(size)
    resized = A.resize_image(image, target)
    assert resized.shape == (*target, 3)
    assert resized.dtype == np.uint8
    error = np.abs(resized - bilinear_reference(image, target))
    assert error.max() < 0.6  # rounding alone is 0.5


def test_corners_coincide():
    image, _ = textured((10, 14))
    resized = A.resize_image(image, (23, 8))
    np.testing.assert_array_equal(resized[[0, 0, -1, -1], [0, -1, 0, -1]],
                                  image[[0, 0, -1, -1], [0, -1, 0, -1]])  # fmt: skip


def test_wide_images_stay_precise_to_the_last_pixel():
    image, _ = textured((2, 700))
    resized = A.resize_image(image, (2, 1399))
    # 699 / 1398 = 1/2: every second pixel is an old one, the others are means
    np.testing.assert_array_equal(resized[:, ::2], image)
    means = (image[:, :-1].astype(float) + image[:, 1:]) / 2
    assert np.abs(resized[:, 1::2] - means).max() < 0.6


def test_labels_are_nearest_by_floor():
    label = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    # rows: floor(i * 2 / 4) = 0 0 1 1; columns: floor(j * 3 / 5) = 0 0 1 1 2
    expected = [[1, 1, 2, 2, 3], [1, 1, 2, 2, 3], [4, 4, 5, 5, 6], [4, 4, 5, 5, 6]]
    np.testing.assert_array_equal(A.resize_label(label, (4, 5)), expected)
    # shrinking takes floor(j * 3 / 2) = 0 1 of the columns
    np.testing.assert_array_equal(A.resize_label(label, (1, 2)), [[1, 2]])


@pytest.mark.parametrize(
    ("size", "factor", "expected"),
    [
        ((7, 15), 0.5, (3, 7)),
        ((7, 9), 1.25, (8, 11)),
        ((375, 500), 0.75, (281, 375)),
        ((1, 1), 0.5, (1, 1)),
        ((7, 9), 2.0, (14, 18)),
    ],
)
def test_scaled_size_is_floored(size, factor, expected):
    scaled = A.scaled_size(size, factor)
    assert scaled == expected
    image, label = textured(size)
    assert A.resize_image(image, scaled).shape == (*expected, 3)
    assert A.resize_label(label, scaled).shape == expected


def test_scale_one_changes_nothing():
    image, label = textured((7, 9))
    size = A.scaled_size(label.shape, 1.0)
    np.testing.assert_array_equal(A.resize_image(image, size), image)
    np.testing.assert_array_equal(A.resize_label(label, size), label)


def test_padding_is_at_the_bottom_and_right_and_marked():
    image, label = textured((4, 6))
    padded, labels, mask = A.cut(image, label, (4, 6), (0, 0), (7, 6))
    assert padded.shape == (7, 6, 3)
    np.testing.assert_array_equal(padded[:4], image)
    np.testing.assert_array_equal(labels[:4], label)
    assert (labels[4:] == 255).all()
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, np.arange(7)[:, None].repeat(6, 1) < 4)


def test_no_padding_where_the_image_is_large_enough():
    image, label = textured((8, 9))
    mask = np.ones((8, 9), bool)
    for left, width in ((0, 9), (5, 4), (2, 4)):
        cropped = A.cut(image, label, (8, 9), (0, left), (8, width))
        for got, whole in zip(cropped, (image, label, mask), strict=True):
            np.testing.assert_array_equal(got, whole[:, left : left + width])


def test_padding_along_one_side_and_a_crop_along_the_other():
    image, label = textured((8, 9))
    padded, labels, mask = A.cut(image, label, (8, 9), (0, 2), (11, 4))
    np.testing.assert_array_equal(padded[:8], image[:, 2:6])
    np.testing.assert_array_equal(labels[:8], label[:, 2:6])
    assert not padded[8:].any()
    assert (labels[8:] == 255).all()
    np.testing.assert_array_equal(mask, np.arange(11)[:, None].repeat(4, 1) < 8)


def test_crop_and_mirror_by_hand():
    image, label = textured((6, 7))
    *cropped, mask = A.cut(image, label, (6, 7), (2, 3), (3, 4))
    for got, whole in zip(cropped, (image, label), strict=True):
        np.testing.assert_array_equal(got, whole[2:5, 3:7])
        assert got.flags.owndata
    assert mask.all()
    *mirrored, mask = A.cut(image, label, (6, 7), (0, 0), (6, 9), mirrored=True)
    for got, whole in zip(mirrored, (image, label), strict=True):
        for j in range(7):
            np.testing.assert_array_equal(got[:, 8 - j], whole[:, j])
    np.testing.assert_array_equal(mask, np.arange(9).repeat(6).reshape(9, 6).T >= 2)
    assert (mirrored[1][:, :2] == 255).all()
    assert not mirrored[0][:, :2].any()


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 200])
def test_any_number_of_channels_is_mirrored(channels):
    image = np.random.default_rng(0).integers(0, 256, (3, 5, channels), np.uint8)
    mirrored, *_ = A.cut(image, image[..., 0], (3, 5), (0, 0), (3, 5), mirrored=True)
    for j in range(5):
        np.testing.assert_array_equal(mirrored[:, j], image[:, 4 - j])


def test_a_crop_lies_at_the_top_left_of_a_canvas():
    image, label = textured((6, 7))
    options = {"size": (12, 11), "corner": (3, 0), "crop_size": (5, 13)}
    crops = A.cut(image, label, **options, mirrored=True)
    canvases = A.cut(image, label, **options, mirrored=True, canvas=(8, 16))
    for crop, canvas, nothing in zip(crops, canvases, (0, 255, False), strict=True):
        np.testing.assert_array_equal(canvas[:5, :13], crop)
        assert canvas.shape[:2] == (8, 16)
        assert (canvas[5:] == nothing).all()
        assert (canvas[:, 13:] == nothing).all()


def test_crops_reach_every_place_and_no_further():
    rng = np.random.default_rng(0)
    drawn = {A.draw_crop(rng, (6, 8), (4, 5)) for _ in range(300)}
    assert drawn == set(itertools.product(range(3), range(4)))
    assert A.draw_crop(rng, (4, 5), (4, 5)) == (0, 0)


def test_scales_and_flips_are_drawn_uniformly():
    rng = np.random.default_rng(0)
    drawn = [A.draw_scale(rng, (0.5, 1.0, 2.0)) for _ in range(600)]
    assert all(150 < drawn.count(s) < 250 for s in (0.5, 1.0, 2.0))
    assert 240 < sum(A.draw_flip(rng) for _ in range(600)) < 360


@pytest.mark.parametrize("draw", augment_cases.DRAWS, ids=lambda draw: draw.name)
def test_the_network_sees_what_pytorch_would_give_it(draw):
    size = A.scaled_size(draw.size, draw.scale)
    image, label, mask = A.cut(
        *augment_cases.picture(draw.size),
        *(size, draw.corner, draw.crop),
        mirrored=draw.flip,
    )
    expected = golden("augment")
    labels = augment_cases.sample(label)
    np.testing.assert_array_equal(labels, expected[f"{draw.name}/label"])
    assert zlib.crc32(label.tobytes()) == expected[f"{draw.name}/label_crc32"]
    pixels = augment_cases.sample(
        np.asarray(IMAGENET.normalize(image[None], mask[None])[0])
    )
    wanted = expected[f"{draw.name}/image"]
    assert (np.abs(pixels - wanted) * IMAGENET.std).max() < 1 / 255
    padded = ~augment_cases.sample(mask)
    assert (pixels[padded] == 0).all()
    assert (wanted[padded] == 0).all()
    assert (labels[padded] == 255).all()


def test_augment_is_scale_pad_crop_flip_in_this_order():
    image, label = textured((40, 50))
    options = {"scales": (0.5, 1.5), "crop_size": (33, 45), "flip": True}
    for seed in range(12):
        got = A.augment(image, label, np.random.default_rng(seed), **options)
        rng = np.random.default_rng(seed)
        height, width = (20, 25) if rng.integers(2) == 0 else (60, 75)
        rows, columns = np.arange(height) * 40 // height, np.arange(width) * 50 // width
        expected = (
            bilinear_reference(image, (height, width)),
            label[rows][:, columns],
            np.ones((height, width), bool),
        )
        below, beside = max(0, 33 - height), max(0, 45 - width)
        top = rng.integers(height + below - 33 + 1)
        left = rng.integers(width + beside - 45 + 1)
        flip = rng.integers(2)
        for a, b, fill in zip(got, expected, (0, 255, False), strict=True):
            margin = ((0, below), (0, beside), (0, 0))[: b.ndim]
            b = np.pad(b, margin, constant_values=fill)
            b = b[top : top + 33, left : left + 45]
            b = b[:, ::-1] if flip else b
            assert a.shape == b.shape
            # images are rounded, by half at most, and nothing else is
            assert np.abs(a.astype(float) - b).max() < (0.6 if a is got[0] else 1e-9)
        corner = int(top), int(left)
        drawn = (height, width), corner, (33, 45)
        for a, b in zip(got, A.cut(image, label, *drawn, mirrored=flip), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("target", [(9, 31), (70, 83), (20, 26), (120, 151)])
@pytest.mark.parametrize("channels", [3, 5])
def test_a_window_is_a_part_of_the_resized_whole(target, channels):
    """Wherever it lies, mirrored or not, in float64; labels to the last one."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (41, 53, channels), np.uint8)
    _, label = textured((41, 53))
    whole, (height, width) = bilinear_reference(image, target), target
    nearest = np.arange(height) * 41 // height, np.arange(width) * 53 // width
    for top, left in itertools.product((0, 1, target[0] - 7), (0, 11, 19)):
        rows, columns = range(top, top + 7), range(left, left + 7)
        for window in ((rows, columns), (rows, columns[::-1])):
            error = np.abs(
                A.resize_image(image, target, window) - whole[np.ix_(*window)]
            )
            assert error.max() < 0.6
            got = A.resize_label(label, target, window)
            chosen = (at[list(part)] for at, part in zip(nearest, window, strict=True))
            np.testing.assert_array_equal(got, label[np.ix_(*chosen)])


def test_image_label_and_mask_stay_together():
    # the label is the image's own red channel, and every real pixel is above 0
    label = np.tile(np.arange(1, 61, dtype=np.uint8), (40, 1))
    image = np.stack([label] * 3, axis=-1)
    rng = np.random.default_rng(0)
    flipped = set()
    for _ in range(30):
        got, labels, mask = A.augment(
            image, label, rng, scales=(0.5, 1.0), crop_size=(35, 50), flip=True
        )
        assert got.shape == (35, 50, 3)
        assert labels.shape == mask.shape == (35, 50)
        np.testing.assert_array_equal(mask, labels != 255)
        np.testing.assert_array_equal(mask, got[..., 0] > 0)
        difference = got[..., 0][mask].astype(int) - labels[mask]
        assert np.abs(difference).max() <= 2
        flipped.add(bool(mask[0, 0] and got[0, 0, 0] < got[0, 5, 0]))
    assert flipped == {True, False}


def test_without_flip_nothing_is_mirrored():
    label = np.tile(np.arange(1, 61, dtype=np.uint8), (40, 1))
    image = np.stack([label] * 3, axis=-1)
    rng = np.random.default_rng(0)
    for _ in range(20):
        got, _, _ = A.augment(
            image, label, rng, scales=(1.0,), crop_size=(35, 50), flip=False
        )
        assert got[0, 0, 0] < got[0, 5, 0]


def test_the_input_is_not_written_to():
    image, label = textured((10, 12))
    image.flags.writeable = label.flags.writeable = False
    for seed in range(8):
        got = A.augment(
            image,
            label,
            np.random.default_rng(seed),
            scales=(1.0,),
            crop_size=(10, 12),
            flip=True,
        )
        assert not any(np.shares_memory(a, b) for a in got for b in (image, label))
