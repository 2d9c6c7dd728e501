"""Folders as they come: each is read to the pixel, or ends in a line that names a file.

Never a traceback, never silence.
"""

import logging
import shutil
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from train.data import open_dataset
from train.user.errors import UserError

NAMES = ("background", "cat", "dog")
EXAMPLES = 12

letters = st.sampled_from("aZ09_- .éñçйд中日本ع😀#%()'&")
stems = (
    st.text(letters, min_size=1, max_size=8)
    .map(str.strip)
    .filter(lambda stem: stem and stem[0] != "." and stem[-1] != ".")  # or hidden
)
IMAGE_SUFFIXES = (".png", ".bmp", ".tif", ".PNG", ".ppm", ".webp")
KINDS = ("index", "palette", "rgb", "16 bits", "two values")
DEFECTS = ("no mask", "no image", "other size", "another value", "empty", "torn")


@dataclass(frozen=True)
class Item:
    """An image and its mask.

    Attributes:
        stem: of both.
        form: of Unicode, in which the mask's name is written.
        suffix: of the image.
        size: height and width.
        defect: what is wrong with it, if anything.
        seed: of the pixels.
    """

    stem: str
    form: str
    suffix: str
    size: tuple[int, int]
    defect: str | None
    seed: int


def items(defects):
    return st.lists(
        st.builds(
            Item,
            stem=stems,
            form=st.sampled_from(("NFC", "NFD")),
            suffix=st.sampled_from(IMAGE_SUFFIXES),
            size=st.tuples(st.integers(5, 33), st.integers(5, 33)),
            defect=defects,
            seed=st.integers(0, 99),
        ),
        min_size=1,
        max_size=4,
        unique_by=lambda item: unicodedata.normalize("NFC", item.stem).lower(),
    )


mostly_well = st.sampled_from((*(None,) * 12, *DEFECTS))
EXTRAS = ("images/train/._a.png", "images/.DS_Store", "notes.txt", "images/train/x.md")


def write(root: Path, split: str, item: Item, kind: str) -> np.ndarray | None:
    """An item, and the labels that are to be read."""
    rng = np.random.default_rng(item.seed)
    pixels = rng.integers(0, 256, (*item.size, 3), np.uint8)
    label = rng.integers(0, 2 if kind == "two values" else 3, item.size, np.uint8)
    if kind == "two values":
        label = np.where(label == 1, 1, 0).astype(np.uint8)
    elif item.defect != "another value":
        label[0, 0] = 255
    mask = 255 * label if kind == "two values" else label
    if item.defect == "another value":
        mask = mask.copy()
        mask[0, 0] = 77
    if item.defect == "other size":
        mask = np.pad(mask, ((0, 1), (0, 0)))
    name = unicodedata.normalize(item.form, item.stem)
    if item.defect != "no mask":
        save_mask(root / f"labels/{split}/{name}.png", mask, kind)
    image = root / f"images/{split}/{item.stem}{item.suffix}"
    if item.defect != "no image":
        options = {"lossless": True} if item.suffix == ".webp" else {}
        Image.fromarray(pixels).save(image, **options)
    if item.defect in ("empty", "torn"):
        data = image.read_bytes()
        image.write_bytes(b"" if item.defect == "empty" else data[: len(data) // 2])
    return None if item.defect else (pixels, label)


def save_mask(path: Path, mask: np.ndarray, kind: str) -> None:
    if kind == "16 bits":
        assert cv2.imwrite(str(path), mask.astype(np.uint16))
        return
    image = Image.fromarray(mask)
    if kind == "palette":
        image.putpalette(np.arange(768, dtype=np.uint8)[::-1].tobytes())
    image.convert("RGB").save(path) if kind == "rgb" else image.save(path)


@given(
    train=items(mostly_well),
    val=items(mostly_well),
    kind=st.sampled_from(KINDS),
    extras=st.sets(st.sampled_from(EXTRAS)),
    lists=st.booleans(),
)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
)
def test_any_folder(trains, tmp_path_factory, train, val, kind, extras, lists):
    place = tmp_path_factory.mktemp("any")
    root = place / "root"
    expected = {}
    for split, chosen in (("train", train), ("val", val)):
        for part in ("images", "labels"):
            (root / part / split).mkdir(parents=True)
        expected[split] = {
            unicodedata.normalize("NFC", item.stem): write(root, split, item, kind)
            for item in chosen
        }
        if lists:
            names = "".join(f"{item.stem}\n" for item in chosen)
            (root / f"{split}.txt").write_text(names)
    names = NAMES[:2] if kind == "two values" else NAMES
    (root / "classes.txt").write_text("\n".join(names))
    for extra in extras:
        (root / extra).write_bytes(b"\0\1")

    said: list[str] = []
    dataset, error = opened(root, place / "records", said)
    shutil.rmtree(root)
    well = not any(item.defect for item in (*train, *val))
    if dataset is None:
        assert not well, error
        assert "\n" not in error
        assert str(root) in error
        return
    for split, wanted in expected.items():
        source = dataset.source(split)
        found = {x["name"]: x for x in (source[i] for i in range(len(source)))}
        assert found.keys() <= wanted.keys()
        for name, example in found.items():
            pixels, label = wanted[name]
            np.testing.assert_array_equal(example["image"], pixels)
            np.testing.assert_array_equal(example["label"], label)
        for name in wanted.keys() - found.keys():  # a mask alone, or a comment
            assert wanted[name] is None
            assert name[0] == "#" or any("passed over" in text for text in said)
    if well:
        assert trains(dataset) > 0


def opened(root: Path, records: Path, said: list[str]):
    """A data set, or none and why; and what was logged meanwhile."""
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    log = logging.getLogger("ema_jax")
    log.addHandler(handler)
    try:
        return open_dataset("folder", root=str(root), data_dir=str(records)), ""
    except UserError as error:
        return None, str(error)
    finally:
        log.removeHandler(handler)
