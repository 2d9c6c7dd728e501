"""Verified examples, and the one TFDS builder that writes them for every data set."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from numpy.typing import NDArray
from tqdm import tqdm

from train.data.access import IGNORE_LABEL
from train.data.images import decode_image
from train.data.masks import Mask, encode_mask, read_mask
from train.user.errors import UserError


class Example(NamedTuple):
    """One record: encoded image, mode-L PNG label, height and width."""

    name: str
    image: bytes
    label: bytes
    size: tuple[int, int]  # height, width


class Pair(NamedTuple):
    """An image file and its mask file."""

    name: str
    image: Path
    mask: Path


@dataclass(frozen=True, eq=False)
class Contents:
    """A data set before it is written.

    Attributes:
      class_names: one per class; class i is index i in the masks.
      palette: uint8 (num_classes, 3) RGB, for drawing.
      splits: name -> a function that yields the examples.
      fingerprint: changes whenever the records would; names their folder.
    """

    class_names: tuple[str, ...]
    palette: NDArray[np.uint8]
    splits: Mapping[str, Callable[[], Iterable[Example]]]
    fingerprint: str


def verified_examples(
    pairs: Sequence[Pair],
    *,
    num_classes: int,
    ignore: int = IGNORE_LABEL,
    values: Callable[[], Sequence[int]] | None = None,
    read_label: Callable[[Path], Mask] = read_mask,
) -> Iterator[Example]:
    """Reads each pair and yields it as a record.

    Args:
      pairs: the files.
      num_classes: masks may hold 0..num_classes-1 and `ignore`.
      ignore: the value in the files that the records keep as 255, if no class has it.
      values: gives the value of each class in the files; None: the classes themselves.
      read_label: reads a mask file.

    Raises:
      UserError: a file is missing or unreadable, the sizes differ, or a mask holds
        another value; the message names the file.
    """
    classes = _classes(range(num_classes) if values is None else values(), ignore)
    for pair in pairs:
        image = _read_bytes(pair.image)
        mask = read_label(pair.mask)
        _check_size(pair, _image_size(pair.image, image), mask.shape)
        label = _relabel(mask, pair.mask, classes, num_classes, ignore)
        yield Example(pair.name, image, encode_mask(label), mask.shape)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path}: cannot be opened ({error.strerror}); "
            "restore it or take it out of its split"
        ) from error


def _image_size(path: Path, data: bytes) -> tuple[int, int]:
    try:
        height, width, _ = decode_image(data).shape
    except ValueError as error:
        raise UserError(
            f"{path}: cannot be read as an image ({error}); "
            "replace it or take it out of its split"
        ) from error
    return height, width


def _check_size(pair: Pair, image: tuple[int, int], mask: tuple[int, ...]) -> None:
    if image == mask:
        return
    turned = " after its EXIF rotation" if image == mask[::-1] else ""
    raise UserError(
        f"{pair.image}: is {image[0]}x{image[1]} (height x width){turned}, but its "
        f"mask {pair.mask} is {mask[0]}x{mask[1]}; make both the same size"
    )


def _classes(values: Sequence[int], ignore: int) -> NDArray[np.int16]:
    """What each of the 256 values stands for: a class, 255, or -1 for nothing."""
    classes = np.full(256, -1, np.int16)
    classes[ignore] = IGNORE_LABEL
    classes[list(values)] = np.arange(len(values))
    return classes


def _relabel(
    mask: Mask, path: Path, classes: NDArray[np.int16], num_classes: int, ignore: int
) -> Mask:
    """The classes of a mask, once it holds nothing but their values and `ignore`."""
    label = classes[mask]
    wrong = np.unique(mask[label < 0])
    if wrong.size:
        values = ", ".join(map(str, wrong[:8])) + (", …" if len(wrong) > 8 else "")
        known = [value for value in range(256) if 0 <= classes[value] < num_classes]
        said = f"0..{num_classes - 1}"
        if known != list(range(num_classes)):
            said = ", ".join(map(str, known))
        raise UserError(
            f"{path}: holds {values}, neither a class ({said}) nor "
            f"{ignore} (ignore); correct the mask or the list of classes"
        )
    return label.astype(np.uint8)


class SegmentationBuilder(tfds.core.GeneratorBasedBuilder):
    """Writes `Contents` as ArrayRecord files under data_dir/name/fingerprint/version.

    Args:
      name: of the data set.
      contents: its classes and examples.
      data_dir: where prepared records go; None means TFDS's default folder.
    """

    VERSION = tfds.core.Version("1.0.0")
    # where TFDS would look for checksums of downloads; there are none
    code_path = None

    def __init__(self, name: str, contents: Contents, data_dir: str | None) -> None:
        self.name = name
        self._contents = contents
        config = tfds.core.BuilderConfig(name=contents.fingerprint)
        super().__init__(data_dir=data_dir, config=config)

    def _info(self) -> tfds.core.DatasetInfo:
        contents = self._contents
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, 3)),
                "label": tfds.features.Image(
                    shape=(None, None, 1), encoding_format="png"
                ),
                "name": tfds.features.Text(),
                "size": tfds.features.Tensor(shape=(2,), dtype=np.int32),
            }
        )
        metadata = tfds.core.MetadataDict(
            class_names=list(contents.class_names),
            palette=contents.palette.tolist(),
            ignore_label=IGNORE_LABEL,
        )
        return tfds.core.DatasetInfo(
            builder=self,
            description="Semantic segmentation: RGB images and index masks.",
            features=features,
            metadata=metadata,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[Any]]:
        del dl_manager  # nothing is downloaded
        splits = self._contents.splits
        return {name: self._generate_examples(name) for name in splits}

    def _generate_examples(self, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        examples = self._contents.splits[split]()
        for example in tqdm(examples, f"preparing {split}", unit="image", disable=None):
            record = example._asdict()
            record["size"] = np.asarray(example.size, np.int32)
            yield example.name, record
