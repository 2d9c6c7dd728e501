"""Masks for images that are only files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from train.data.images import SUFFIXES, decode_image
from train.errors import UserError
from train.folders import not_written, writable_folder
from train.pictures import colorize, overlay
from train.restore import Trained

KINDS = ("mask", "color", "overlay")


@dataclass(frozen=True)
class ImageFiles:
    """Random access to decoded image files, whose labels are unknown (255)."""

    paths: Sequence[Path]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        image = read_image(self.paths[index])
        return {"image": image, "label": np.full(image.shape[:2], 255, np.uint8)}


def read_image(path: Path) -> np.ndarray:
    """RGB uint8 (H, W, 3) of a file.

    Raises:
        UserError: no such file, or not an image.
    """
    try:
        return decode_image(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read as an image ({reason})") from error


def find_images(inputs: Sequence[str]) -> dict[str, Path]:
    """Output name of each image, and its path; folders are searched through.

    Raises:
        UserError: an empty folder, or two images that would share an output.
    """
    found: dict[str, Path] = {}
    for start in map(Path, inputs):
        paths = [start]
        if start.is_dir():
            paths = [p for p in start.rglob("*") if p.suffix.lower() in SUFFIXES]
            if not paths:
                raise UserError(f"{start}: holds no image ({', '.join(SUFFIXES)})")
        for path in sorted(paths):
            relative = path.relative_to(start) if start.is_dir() else Path(path.name)
            name = str(relative.with_suffix(""))
            if name in found and found[name] != path:
                raise UserError(
                    f"{found[name]} and {path} would write the same {name}.png; "
                    "rename one, or predict them into two folders"
                )
            found[name] = path
    return found


def predict(trained: Trained, inputs: Sequence[str], output: str) -> list[str]:
    """Write index mask, coloured mask and overlay of each image at its own size.

    They go to `output/{mask,color,overlay}/NAME.png`. A file that is not an image
    is passed over.

    Returns:
        One message for each file passed over.

    Raises:
        UserError: no file is an image, or the output cannot be written.
    """
    sizes: dict[str, tuple[int, ...]] = {}
    problems = []
    images = find_images(inputs)
    for name, path in images.items():
        try:
            sizes[name] = read_image(path).shape[:2]
        except UserError as error:
            problems.append(str(error))
    if not sizes:
        raise UserError("; ".join(problems))
    for kind in KINDS:  # before the network is compiled
        writable_folder("output", Path(output) / kind)
    names = list(sizes)
    files = ImageFiles([images[name] for name in names])
    predictions = trained.predict(files, np.array(list(sizes.values())))
    bar = tqdm(predictions, total=len(names), unit="image", disable=None)
    for index, labels in bar:
        image = files[index]["image"]
        _write(Path(output), names[index], image, labels, trained.classes.palette)
    return problems


def _write(
    output: Path, name: str, image: np.ndarray, labels: np.ndarray, palette: np.ndarray
) -> None:
    colors = colorize(labels, palette)
    pictures = (labels, colors, overlay(image, colors))
    for kind, picture in zip(KINDS, pictures, strict=True):
        path = output / kind / f"{name}.png"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)
        except OSError as error:
            raise not_written("output", path, error) from error
