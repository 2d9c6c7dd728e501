"""Masks and images as tools write them: each in its true format, to the pixel."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image, ImageDraw

from train.user.errors import UserError

NAMES = ("background", "cat", "dog")
COLORS = ((0, 0, 0), (250, 50, 83), (61, 61, 245))
EXPECTED = np.zeros((20, 30), np.uint8)
EXPECTED[2:8, 3:13] = 1
EXPECTED[10:18, 20:29] = 2


@pytest.fixture
def root(tmp_path):
    """Images alone, named a and b, for training and for validation."""
    for split, name in (("train", "a"), ("val", "b")):
        folder = tmp_path / "root/images" / split
        folder.mkdir(parents=True)
        pixels = np.random.default_rng(len(split)).integers(0, 256, (20, 30, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{name}.png")
        (tmp_path / "root/labels" / split).mkdir(parents=True)
    return tmp_path / "root"


def masks(root):
    """Where the masks go."""
    return [root / "labels/train/a.png", root / "labels/val/b.png"]


@pytest.fixture
def check(trains):
    """The labels are as expected, and a training on them takes two steps."""

    def check(dataset, expected=EXPECTED, names=NAMES):
        assert dataset.class_names == names
        for split in ("train", "val"):
            np.testing.assert_array_equal(dataset.source(split)[0]["label"], expected)
        assert trains(dataset) == np.count_nonzero(expected != 255)

    return check


def name_classes(root, meta=None):
    (root / "classes.txt").write_text("\n".join(NAMES))
    if meta is not None:
        (root / "meta.json").write_text(json.dumps(meta))


def colored(expected=EXPECTED):
    return np.array(COLORS, np.uint8)[expected]


TABLES = {
    "labels.csv": "value,name,color\n0,background,#000000\n1,cat,#fa3253\n"
    "2,dog,61 61 245\n",
    "class_dict.csv": "name,r,g,b\nbackground,0,0,0\ncat,250,50,83\ndog,61,61,245\n",
    "labelmap.txt": "# label:color_rgb:parts:actions\nbackground:0,0,0::\n"
    "cat:250,50,83::\ndog:61,61,245::\n",
}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_by_a_table(root, open_root, check, table, mode):
    (root / table).write_text(TABLES[table])
    for path in masks(root):
        Image.fromarray(colored()).convert(mode).save(path)
    check(open_root())


def test_colours_by_meta_and_an_ignored_one(root, open_root, check):
    ignored = [224, 224, 192]
    name_classes(root, {"palette": COLORS, "ignore": [ignored, 255]})
    pixels, expected = colored(), EXPECTED.copy()
    pixels[0, :5], expected[0, :5] = ignored, 255
    for path in masks(root):
        Image.fromarray(pixels).save(path)
    check(open_root(), expected)


def test_a_colour_that_no_class_has_is_counted_and_named(root, open_root):
    name_classes(root, {"palette": COLORS})
    pixels = colored()
    pixels[0, :7] = (1, 2, 3)
    for path in masks(root):
        Image.fromarray(pixels).save(path)
    with pytest.raises(UserError, match=r"a\.png: holds #010203 \(7 pixels\), neither"):
        open_root()


def test_colours_without_a_palette_are_said(root, open_root):
    name_classes(root)
    for path in masks(root):
        Image.fromarray(colored()).save(path)
    with pytest.raises(UserError, match=r"a\.png: looks like colours \(#3d3df5, #fa32"):
        open_root()


def save_indexed(path, order):
    """The colours as a palette PNG whose numbers are in another order."""
    numbers = np.argsort(order).astype(np.uint8)[EXPECTED]
    image = Image.fromarray(numbers)
    image.putpalette(np.array(COLORS, np.uint8)[list(order)].tobytes())
    image.save(path)


@pytest.mark.parametrize("meta", [None, {"palette": COLORS}])
def test_a_palette_is_read_by_number(root, open_root, check, caplog, meta):
    """What is ignored is so, though it is shown in the colour of a class."""
    name_classes(root, meta)
    expected = EXPECTED.copy()
    expected[0] = 255
    for path in masks(root):
        image = Image.fromarray(expected)
        image.putpalette([*np.ravel(COLORS).tolist(), *(768 - 9) * [0]])
        image.save(path)
    check(open_root(), expected)
    assert not [text for text in caplog.messages if "palettes differ" in text]


@pytest.mark.parametrize("meta", [None, {"palette": COLORS}])
def test_palettes_that_differ_are_said(root, open_root, caplog, meta):
    name_classes(root, meta)
    first, second = masks(root)
    save_indexed(first, (0, 1, 2))
    save_indexed(second, (0, 2, 1))
    open_root()
    [said] = [text for text in caplog.messages if "palettes differ" in text]
    assert f"{first} shows 1 as #fa3253, {second} as #3d3df5" in said


def test_three_equal_channels_are_one(root, open_root, check):
    name_classes(root)
    for path in masks(root):
        Image.fromarray(np.repeat(EXPECTED[..., None], 3, -1)).save(path)
    check(open_root())


@pytest.mark.parametrize(
    ("dtype", "suffix"),
    [(np.uint16, ".png"), (np.uint16, ".tif"), (np.int32, ".tif")],
)
def test_values_of_many_bits(root, open_root, check, dtype, suffix):
    name_classes(root, {"values": [7, 1000, 60001], "ignore": 0})
    values = np.array([7, 1000, 60001], dtype)[EXPECTED]
    values[0, 0] = 0
    for path in masks(root):
        Image.fromarray(values).save(path.with_suffix(suffix))
    expected = EXPECTED.copy()
    expected[0, 0] = 255
    check(open_root(), expected)


def test_a_table_joins_values_of_the_mask_to_names(root, open_root, check):
    (root / "labels.csv").write_text(
        "name,value\nbackground,10\ncat,20\ndog,30\nignore,0\n"
    )
    values = (10 * (EXPECTED + 1)).astype(np.uint8)
    values[0, 0] = 0
    for path in masks(root):
        Image.fromarray(values).save(path)
    expected = EXPECTED.copy()
    expected[0, 0] = 255
    check(open_root(), expected)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("{}_mask.png", {}),
        ("{}_label.png", {}),
        ("mask-of-{}.png", {"mask_pattern": "mask-of-{}"}),
    ],
)
def test_names_of_masks(root, open_root, check, name, options):
    name_classes(root)
    for path in masks(root):
        Image.fromarray(EXPECTED).save(path.parent / name.format(path.stem))
    check(open_root(**options))


def test_masks_among_the_images(root, open_root, check):
    name_classes(root)
    for path in masks(root):
        beside = root / "images" / path.parent.name / f"{path.stem}-class.png"
        Image.fromarray(EXPECTED).save(beside)
    for split in ("train", "val"):
        (root / "labels" / split).rmdir()
        (root / "labels" / split).symlink_to(root / "images" / split)
    dataset = open_root(mask_pattern="{}-class.png")
    assert len(dataset.source("train")) == 1
    check(dataset)


def labelme(shapes):
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": "a.png",
        "imageData": None,
        "imageHeight": 20,
        "imageWidth": 30,
    }


def shape(label, points, kind="polygon", **more):
    return {"label": label, "points": points, "shape_type": kind, "flags": {}, **more}


@pytest.mark.parametrize("beside", ["labels", "images"])
@pytest.mark.parametrize("named", [True, False])
def test_labelme(root, open_root, check, beside, named):
    """A polygon, a rectangle by two corners, a small mask, a line without area."""
    png = io.BytesIO()
    Image.fromarray(np.full((8, 4), True)).save(png, "PNG")
    drawn = base64.b64encode(png.getvalue()).decode()
    shapes = [
        shape("cat", [[3, 2], [13, 2], [13, 8], [3, 8]]),
        shape("dog", [[29, 10], [20, 18]], "rectangle"),
        shape(
            "dog",
            [[20, 10]] * 2,
            "mask",
            mask=drawn,
        ),
        shape("cat", [[0, 0], [9, 9]], "line"),
    ]
    if named:
        name_classes(root)
    for path in masks(root):
        target = root / beside / path.parent.name / f"{path.stem}.json"
        target.write_text(json.dumps(labelme(shapes)))
    check(open_root())


def test_what_labelme_draws_slantwise(root, open_root):
    """Pillow's polygon, ten times as large, at the centres of the pixels."""
    name_classes(root)
    corners = [(4.2, 1.3), (27.1, 6.8), (12.6, 18.4)]
    for path in masks(root):
        path.with_suffix(".json").write_text(
            json.dumps(labelme([shape("cat", corners)]))
        )
    label = open_root().source("train")[0]["label"]
    peer = Image.new("L", (300, 200))
    ImageDraw.Draw(peer).polygon([(10 * x, 10 * y) for x, y in corners], fill=1)
    centres = np.asarray(peer)[5::10, 5::10]
    assert (label != centres).sum() <= 2
    assert 100 < centres.sum() < 300


def coco(name):
    objects = [
        (2, [[3, 2, 13, 2, 13, 8, 3, 8]], 0),
        (7, {"size": [20, 30], "counts": runs(EXPECTED == 2)}, 1),
    ]
    return {
        "images": [{"id": 5, "file_name": name, "height": 20, "width": 30}],
        "categories": [{"id": 7, "name": "dog"}, {"id": 2, "name": "cat"}],
        "annotations": [
            {
                "id": i,
                "image_id": 5,
                "category_id": category,
                "segmentation": segmentation,
                "iscrowd": crowd,
            }
            for i, (category, segmentation, crowd) in enumerate(objects)
        ],
    }


def runs(mask):
    flat = np.concatenate([[False], mask.ravel(order="F"), [False]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return np.diff(np.concatenate([[0], edges, [mask.size]])).tolist()


@pytest.mark.parametrize(
    "place",
    ["{}.json", "annotations/instances_{}2017.json", "{}/_annotations.coco.json"],
)
def test_coco(root, open_root, check, place):
    for split, name in (("train", "a.png"), ("val", "b.png")):
        path = root / place.format(split)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(coco(name)))
    check(open_root())


def test_a_webp_must_be_lossless(root, open_root, check):
    name_classes(root)
    for path in masks(root):
        Image.fromarray(EXPECTED).save(path.with_suffix(".webp"), lossless=True)
    check(open_root())
    Image.fromarray(EXPECTED).save(root / "labels/val/b.webp", quality=50)
    with pytest.raises(
        UserError, match=r"b\.webp: is a WebP, whose compression alters"
    ):
        open_root()


def test_files_of_other_tools_are_named(root, open_root):
    name_classes(root)
    (root / "labels/train/a.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"train/a\.jpg: is a JPEG, whose compression"):
        open_root()
    (root / "labels/train/a.jpg").rename(root / "labels/train/a.txt")
    with pytest.raises(UserError, match=r"a\.txt: is text, as YOLO writes it; export"):
        open_root()


@pytest.mark.parametrize(
    ("label_map", "names", "became"),
    [
        ((("dog", "cat"),), ("background", "cat"), (0, 1, 1)),
        ((("cat", "pet"), ("dog", "pet")), ("background", "pet"), (0, 1, 1)),
        ((("cat", "ignore"),), ("background", "dog"), (0, 255, 1)),
    ],
)
def test_label_map(root, open_root, check, label_map, names, became):
    name_classes(root)
    for path in masks(root):
        Image.fromarray(EXPECTED).save(path)
    check(open_root(label_map=label_map), np.array(became)[EXPECTED], names)


def test_a_label_map_of_a_class_that_is_not_there(root, open_root):
    name_classes(root)
    for path in masks(root):
        Image.fromarray(EXPECTED).save(path)
    with pytest.raises(UserError, match="label_map: 'dgo': did you mean 'dog'"):
        open_root(label_map=(("dgo", "cat"),))
