"""Images that a visitor can look at before he has chosen one."""

import logging
from itertools import islice
from pathlib import Path

from ema_jax.classes import Classes
from train.data.images import SUFFIXES, image_files, read_bytes
from train.data.photographs import Range
from train.data.shapes import CLASS_NAMES, SPLITS, scene
from train.demo.reading import MAX_BYTES, Photo, read_photo, too_many_bytes
from train.user.errors import UserError

MAX_EXAMPLES = 12
SCENES = 6

log = logging.getLogger("ema_jax")


def scenes(classes: Classes) -> list[Photo]:
    """Of the embedded data set, for a network of its classes; else none."""
    if classes.names != CLASS_NAMES:
        return []
    seeds = SPLITS["val"][:SCENES]
    photos = [(seed, scene(seed)[0]) for seed in seeds]
    return [Photo(f"scene {seed}", image, image.shape[:2]) for seed, image in photos]


def read_examples(
    folder: str, max_side: int, channels: int, value_range: Range | None = None
) -> list[Photo]:
    """The first `MAX_EXAMPLES` images below a folder, in the order of their names.

    One that cannot be shown is passed over, which the log says.

    Raises:
        UserError: no folder, or one without an image.
    """
    check_folder(folder)
    paths = list(islice(image_files(Path(folder)), MAX_EXAMPLES))
    photos = []
    for path in paths:
        try:
            photos.append(_read(path, max_side, channels, value_range))
        except UserError as error:
            log.warning("example passed over: %s", error)
    if not photos:
        raise UserError(
            f"--examples={folder}: holds no image that can be shown "
            f"({', '.join(SUFFIXES)})"
        )
    return photos


def check_folder(folder: str) -> None:
    """Raise a UserError unless it is one."""
    if not Path(folder).is_dir():
        raise UserError(f"--examples={folder}: no such folder")


def _read(path: Path, max_side: int, channels: int, value_range: Range | None) -> Photo:
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path.name}: cannot be shown: {too_many_bytes()}")
    return read_photo(path.name, read_bytes(path), max_side, channels, value_range)
