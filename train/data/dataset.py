"""Opening a data set: its classes, and random access to its decoded examples."""

import contextlib
import io
import json
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from absl import logging as absl_logging
from numpy.typing import NDArray

from train.data.access import IGNORE_LABEL, DamagedRecordError, RandomAccess
from train.data.builder import VALUE_RANGE, Contents, SegmentationBuilder
from train.data.label_map import map_labels
from train.data.masks import decode_mask
from train.data.photographs import Range, decode_record
from train.user.errors import UserError
from train.user.names import nearest

log = logging.getLogger("ema_jax")


class RecordSource:
    """The decoded examples of one split; safe across threads, and picklable.

    `source[i]` is {"image": uint8 (H, W, C), "label": uint8 (H, W), "name": str}, RGB
    if C is 3. The order is that of the records, which TFDS shuffles once, when writing.

    Args:
      dataset: the data set's name.
      split: one that exists.
      folder: of the prepared records.
      channels: of the images.
    """

    def __init__(
        self, dataset: str, split: str, folder: str, channels: int = 3
    ) -> None:
        self.dataset, self.split, self.folder = dataset, split, folder
        self.channels = channels
        self.records = _records(_read_builder(folder), split)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.dataset}/{self.split}[{index}] of {len(self)}")
        name = "unknown"
        try:
            record = self.records[index]
            name = record["name"].decode()
            image = decode_record(record["image"], self.channels)
            label = decode_mask(record["label"])
            if image.shape[:2] != label.shape:
                raise ValueError(f"image {image.shape[:2]}, label {label.shape}")
        except Exception as error:  # each reader and parser has its own types
            raise DamagedRecordError(
                f"{self.dataset}/{self.split}[{index}] (name {name}): the record is "
                f"damaged ({_one_line(error)}); delete {self.folder} to prepare it "
                "again"
            ) from error
        return {"image": image, "label": label, "name": name}


@dataclass(frozen=True, eq=False)
class Dataset:
    """An open data set.

    Attributes:
      name: in `DATASETS`.
      class_names: one per class.
      palette: uint8 (num_classes, 3) RGB.
      folder: of the prepared records.
      channels: of the images.
      ignore_label: the label of pixels that count nowhere.
    """

    name: str
    class_names: tuple[str, ...]
    palette: NDArray[np.uint8]
    folder: str
    channels: int = 3
    ignore_label: int = IGNORE_LABEL

    @property
    def num_classes(self) -> int:
        """How many classes the labels tell apart, the ignore label not counted."""
        return len(self.class_names)

    @property
    def value_range(self) -> Range | None:
        """What became 0 and 255 in images of more than 8 bits, if there were any."""
        path = Path(self.folder) / VALUE_RANGE
        if not path.is_file():
            return None
        low, high = json.loads(path.read_text())
        return low, high

    def source(self, split: str) -> RandomAccess:
        """The decoded examples of a split; UserError for one that does not exist."""
        self._check(split)
        return RecordSource(self.name, split, self.folder, self.channels)

    def sizes(self, split: str) -> NDArray[np.int32]:
        """Heights and widths (n, 2) in the order of `source`; decodes no image."""
        return np.array([record["size"] for record in self.records(split)], np.int32)

    def image_names(self, split: str) -> list[str]:
        """Names in the order of `source`."""
        return [record["name"].decode() for record in self.records(split)]

    def records(self, split: str) -> Any:
        """The records of a split in that order, images and labels still encoded."""
        self._check(split)
        return _records(_read_builder(self.folder), split)

    def _check(self, split: str) -> None:
        splits = _read_builder(self.folder).info.splits
        if split not in splits:
            mend = ""
            if self.name == "folder":
                mend = (
                    f"; write {split}.txt, set --config.data.val_share=0.2, or name "
                    "another with --config.data.val_split or --config.data.train_split"
                )
            raise UserError(
                f"data set '{self.name}' has no split '{split}'; "
                f"it has {', '.join(sorted(splits))}{mend}"
            )


def _read_builder(folder: str) -> Any:
    try:
        with _quiet():
            return tfds.builder_from_directory(folder)
    except Exception as error:  # a file of TFDS's own is missing or damaged
        raise UserError(
            f"{folder}: the prepared records cannot be opened ({_one_line(error)}); "
            "delete the folder to prepare them again"
        ) from error


def _records(builder: Any, split: str) -> Any:
    """The parsed records of a split, images and labels still encoded."""
    skip = tfds.decode.SkipDecoding()
    with _quiet():
        return builder.as_data_source(split, decoders={"image": skip, "label": skip})


def open_named(
    name: str,
    openers: Mapping[str, Callable[[str | None], Contents]],
    *,
    root: str | None,
    data_dir: str | None,
    label_map: Sequence[tuple[str, str]] = (),
) -> Dataset:
    """`open_dataset` over a given registry."""
    if name not in openers:
        raise UserError(
            f"config.data.name={name!r} is unknown; {nearest(name, openers)}"
        )
    contents = openers[name](root)
    if label_map:
        contents = map_labels(contents, label_map)
    folder = prepare(name, contents, data_dir)
    return Dataset(
        name, contents.class_names, contents.palette, str(folder), contents.channels
    )


def prepare(name: str, contents: Contents, data_dir: str | None) -> Path:
    """The folder of the records, which are written now if they did not exist.

    An error leaves nothing behind. Several processes may prepare the same data at once;
    the first to finish wins.
    """
    with _quiet():
        builder = SegmentationBuilder(name, contents, data_dir)
    folder = Path(builder.data_path)
    if folder.exists():
        return folder
    log.info("preparing data set %s, once, in %s", name, folder)
    _mention_older(folder)
    try:
        _write(builder)
    except Exception as error:
        if isinstance(error, OSError) and folder.exists():
            return folder
        _remove_empty(folder.parent, folder.parent.parent)
        if isinstance(error, OSError):
            raise UserError(
                f"{folder}: cannot be written ({_one_line(error)}); "
                "make room or give another folder with --config.data.data_dir=…"
            ) from error
        raise
    return folder


def _mention_older(folder: Path) -> None:
    """Say which records of the same set lie beside those to be written.

    They stay: another training may read them.
    """
    beside = folder.parent.parent
    older = [path for path in beside.glob("*/*") if path.is_dir()]
    if not older:
        return
    size = sum(file.stat().st_size for path in older for file in path.rglob("*"))
    log.info(
        "records of other states or options take %.2f GB in %s, %d folders; "
        "delete those that nothing reads",
        size / 1e9,
        beside,
        len(older),
    )


def _write(builder: SegmentationBuilder) -> None:
    tfds.disable_progress_bar()
    options = tfds.download.DownloadConfig(try_download_gcs=False)
    # TFDS makes a folder for downloads even where there are none
    with _quiet(), tempfile.TemporaryDirectory() as downloads:
        builder.download_and_prepare(
            download_dir=downloads, download_config=options, file_format="array_record"
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps TFDS from printing and logging its steps; our one line has said it."""
    verbosity = absl_logging.get_verbosity()
    absl_logging.set_verbosity(absl_logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        absl_logging.set_verbosity(verbosity)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _remove_empty(*folders: Path) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):  # not empty, or never made
            folder.rmdir()
