"""Masks for images that are only files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ema_jax import Predictor, Segmenter
from ema_jax.networks import em_unit
from ema_jax.segmenter import in_channels
from train.data.images import SUFFIXES, image_files
from train.data.photographs import Range, ValueRange, read_photograph
from train.evaluation.pictures import bases_panel, overlay, write_picture
from train.user.errors import UserError
from train.user.folders import writable_folder

TELLING = 6
"""Bases of a picture, where none are named."""


@dataclass(frozen=True)
class ImageFiles:
    """Random access to decoded image files.

    Attributes:
        paths: of the files.
        value_range: gives what is black and white in those of more than 8 bits.
        channels: of the images.
    """

    paths: Sequence[Path]
    value_range: Callable[[], Range]
    channels: int = 3

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        path, channels = self.paths[index], self.channels
        return read_photograph(path, self.value_range, channels=channels).pixels


def find_images(inputs: Sequence[str], output: str) -> dict[str, Path]:
    """Output name of each image, and its path; folders are searched through.

    Raises:
        UserError: an empty folder, two images that would share an output, or an output
            among the inputs.
    """
    found: dict[str, Path] = {}
    for start in map(Path, inputs):
        paths = [start]
        if start.is_dir():
            check_outside(output, start)
            paths = list(image_files(start))
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


def check_outside(output: str, folder: Path) -> None:
    """Raise a UserError if outputs would lie in a folder of inputs.

    They would be taken for images the next time, or take the place of some now.
    """
    inner, outer = Path(output).resolve(), folder.resolve()
    if inner == outer or outer in inner.parents:
        raise UserError(
            f"--output={output} lies in {folder}, whose images are read; give a folder "
            "outside of it"
        )


def check_overwrites(
    images: Mapping[str, Path], output: str, kinds: Sequence[str]
) -> None:
    """Raise a UserError if the picture of an image would take the place of one."""
    inputs = {path.resolve(): path for path in images.values()}
    for name in images:
        for kind in kinds:
            path = picture_path(output, kind, name)
            if path.resolve() in inputs:
                raise UserError(
                    f"--output={output} would write over {inputs[path.resolve()]}, "
                    "which is read; give another folder"
                )


def picture_path(output: str, kind: str, name: str) -> Path:
    """Where the picture of an image goes."""
    return Path(output) / kind / f"{name}.png"


def predict(
    predictor: Predictor,
    inputs: Sequence[str],
    output: str,
    *,
    confidence: bool = False,
    bases: str | None = None,
    value_range: Range | None = None,
) -> list[str]:
    """Write the pictures of each image, at its own size.

    They go to `output/KIND/NAME.png`: "mask" holds class indices, "color" and "overlay"
    show them; "confidence" is the probability of the class, white for one; "bases" see
    `bases_panel`. A file that is not an image is passed over.

    Args:
        predictor: the network.
        inputs: files and folders.
        output: a folder.
        confidence: write that picture too.
        bases: write that picture too, of the bases with these numbers, "3,17"; or of
            the `TELLING` that vary most over the image, for "telling".
        value_range: what is black and white in images of more than 8 bits; None: it is
            measured.

    Returns:
        One message for each file passed over.

    Raises:
        UserError: no file is an image, an output would take the place of an input, or
            cannot be written, or bases that the network does not have.
    """
    choice = None if bases is None else find_bases(bases, predictor.model)
    kinds = ["mask", "color", "overlay"]
    kinds += ["confidence"] * confidence + ["bases"] * (choice is not None)
    sizes: dict[str, tuple[int, ...]] = {}
    problems = []
    images = find_images(inputs, output)
    check_overwrites(images, output, kinds)
    channels = in_channels(predictor.model)
    black_and_white = ValueRange(list(images.values()), channels, value_range)
    for name, path in images.items():
        try:
            photograph = read_photograph(path, black_and_white, channels=channels)
            sizes[name] = photograph.pixels.shape[:2]
        except UserError as error:
            problems.append(str(error))
    if not sizes:
        raise UserError("; ".join(problems))
    for kind in kinds:  # before the network is compiled
        writable_folder("output", Path(output) / kind)
    names = list(sizes)
    files = ImageFiles([images[name] for name in names], black_and_white, channels)
    predictions = predictor.stream(files, np.array(list(sizes.values())))
    bar = tqdm(predictions, total=len(names), unit="image", disable=None)
    for index, prediction in bar:
        image = files[index]
        pictures = {
            "mask": prediction.mask,
            "color": prediction.color,
            "overlay": overlay(image, prediction.color),
            "confidence": np.round(prediction.confidence * 255).astype(np.uint8),
        }
        if choice:
            maps = predictor.responsibilities(image, choice)
            pictures["bases"] = bases_panel(image, maps)
        for kind in kinds:
            write_picture(picture_path(output, kind, names[index]), pictures[kind])
    return problems


def find_bases(bases: str, model: Segmenter) -> Callable[[np.ndarray], Sequence[int]]:
    """Chooses of responsibilities (T, h, w, K) the bases of the option `--bases`.

    Raises:
        UserError: numbers that are none of the network's bases, or it has none.
    """
    try:
        unit = em_unit(model)
    except ValueError as error:
        raise UserError(f"--bases={bases}: {error}") from error
    count = unit.num_bases * unit.num_heads
    if bases == "telling":
        return most_telling
    numbers = [text.strip() for text in bases.split(",")]
    if not all(text.isdecimal() and int(text) < count for text in numbers):
        raise UserError(
            f"--bases={bases}: give 'telling', or numbers from 0 to {count - 1} with "
            "commas between"
        )
    return lambda maps: [int(text) for text in numbers]


def most_telling(maps: np.ndarray) -> list[int]:
    """The bases of responsibilities (T, h, w, K) that vary most over the image."""
    return np.argsort(-np.var(maps[-1], axis=(0, 1)))[:TELLING].tolist()
