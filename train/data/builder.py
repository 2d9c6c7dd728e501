"""Verified examples, and the one TFDS builder that writes them for every data set."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from numpy.typing import NDArray
from tqdm import tqdm

from train.data.access import IGNORE_LABEL
from train.data.coding import Coding, Values, decode, identity
from train.data.masks import encode_mask, read_mask
from train.data.photographs import Range, ValueRange, read_photograph
from train.user.errors import UserError

VALUE_RANGE = "value_range.json"
"""Beside the records."""

MEND = "; replace it or take it out of its split"


class Example(NamedTuple):
    """One record: encoded image, mode-L PNG label, height and width."""

    name: str
    image: bytes
    label: bytes
    size: tuple[int, int]  # height, width
    source: str = ""
    """What the image was, where the record is not its file."""


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
      channels: of the images.
      value_range: of those of more than 8 bits; None: there are none.
    """

    class_names: tuple[str, ...]
    palette: NDArray[np.uint8]
    splits: Mapping[str, Callable[[], Iterable[Example]]]
    fingerprint: str
    channels: int = 3
    value_range: ValueRange | None = None


def verified_examples(
    pairs: Sequence[Pair],
    *,
    num_classes: int,
    coding: Callable[[], Coding] | None = None,
    read_label: Callable[[Path], Values] = read_mask,
    value_range: Callable[[], Range] | None = None,
    channels: int = 3,
) -> Iterator[Example]:
    """Reads each pair and yields it as a record.

    Args:
      pairs: the files.
      num_classes: of the data set.
      coding: gives what the values of the masks stand for; None: 0..num_classes-1 are
        the classes, and 255 counts nowhere.
      read_label: reads a mask file.
      value_range: gives what is black and white in images of more than 8 bits; None:
        they are refused.
      channels: of the images.

    Raises:
      UserError: a file is missing or unreadable, the sizes differ, or a mask holds
        another value; the message names the file.
    """
    meaning = identity(num_classes) if coding is None else coding()
    for pair in pairs:
        image = read_photograph(pair.image, value_range, MEND, channels)
        values = read_label(pair.mask)
        size = image.pixels.shape[:2]
        _check_size(pair, size, values.shape)
        label = encode_mask(decode(values, meaning, pair.mask))
        yield Example(pair.name, image.encoded(), label, size, image.source)


def _check_size(pair: Pair, image: tuple[int, int], mask: tuple[int, ...]) -> None:
    if image == mask:
        return
    turned, mend = "", "make both the same size"
    if image == mask[::-1]:
        turned = " after its EXIF rotation"
        mend = "turn the mask, or take the EXIF flag from the image"
    raise UserError(
        f"{pair.image}: is {image[0]}x{image[1]} (height x width){turned}, but its "
        f"mask {pair.mask} is {mask[0]}x{mask[1]}; {mend}"
    )


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
                "image": tfds.features.Image(shape=(None, None, None)),
                "label": tfds.features.Image(
                    shape=(None, None, 1), encoding_format="png"
                ),
                "name": tfds.features.Text(),
                "source": tfds.features.Text(),
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
        measured = self._contents.value_range
        if measured is not None and measured.known is not None:
            # In the folder of an unfinished set, which is renamed once it is whole.
            kept = Path(self.data_path) / VALUE_RANGE
            kept.write_text(json.dumps(measured.known))
