"""What the records of a split hold: counted once, and kept beside them."""

import contextlib
import hashlib
import io
import os
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from train.data.access import IGNORE_LABEL
from train.data.dataset import Dataset
from train.data.masks import decode_mask

FORMAT = "statistics-1"
DAMAGED = "damaged"
TURNED = ", turned by its flag"
ORIENTATION = 0x0112
THREADS = 4
PLAIN = {"L": "grey", "RGB": "RGB", "RGBA": "RGBA", "P": "palette", "CMYK": "CMYK"}


class Counted(NamedTuple):
    """Of one record: see `Statistics`."""

    name: str
    digest: int
    label_digest: int
    kind: str
    size: tuple[int, int]
    pixels: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Statistics:
    """Of the n records of a split, whose labels tell C classes apart.

    Attributes:
      names: (n,) of the images.
      digests: (n,) uint64, of the bytes of the images.
      label_digests: (n,) uint64, of the labels.
      kinds: (n,) words for what the images are.
      sizes: (n, 2), heights and widths.
      table: (n, C + 1), pixels of each class; the last column is of ignored ones.
    """

    names: NDArray[np.str_]
    digests: NDArray[np.uint64]
    label_digests: NDArray[np.uint64]
    kinds: NDArray[np.str_]
    sizes: NDArray[np.int64]
    table: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def pixels(self) -> NDArray[np.int64]:
        """(C,) of each class."""
        return self.table[:, :-1].sum(0)

    @cached_property
    def holds(self) -> NDArray[np.bool_]:
        """(n, C), whether a record holds a class."""
        return self.table[:, :-1] > 0

    @cached_property
    def images(self) -> NDArray[np.int64]:
        """(C,) that hold each class."""
        return self.holds.sum(0)

    @cached_property
    def extent(self) -> NDArray[np.int64]:
        """(C,) labelled pixels of the images that hold each class."""
        return self.table[:, :-1].sum(1) @ self.holds

    @property
    def ignored(self) -> float:
        """Share of the pixels that count nowhere."""
        return float(self.table[:, -1].sum() / max(1, self.table.sum()))

    @property
    def kind_counts(self) -> Mapping[str, int]:
        """Words for what the images are, and how many are so, most first."""
        return dict(Counter(self.kinds.tolist()).most_common())

    @property
    def digest(self) -> str:
        """16 hex digits that change with images, labels and names, not with places."""
        order = np.argsort(self.names)
        content = hashlib.sha256("\n".join(self.names[order]).encode())
        for digests in (self.digests, self.label_digests):
            content.update(digests[order].tobytes())
        return content.hexdigest()[:16]


def read_statistics(dataset: Dataset, split: str) -> Statistics:
    """The statistics of a split; the first time its labels are decoded.

    Raises:
      UserError: there is no such split.
    """
    path = Path(dataset.folder) / FORMAT / f"{split}.npz"
    damage = (OSError, ValueError, TypeError, KeyError, BadZipFile)
    with contextlib.suppress(*damage), path.open("rb") as file:
        return Statistics(**np.load(file))
    statistics = count(dataset, split)
    with contextlib.suppress(OSError):  # a folder that is only read
        path.parent.mkdir(exist_ok=True)
        scratch = path.with_name(f".{split}-{os.getpid()}")
        with scratch.open("wb") as file:
            np.savez_compressed(file, **asdict(statistics))
        scratch.replace(path)
    return statistics


def count(dataset: Dataset, split: str) -> Statistics:
    """The statistics of a split, from its records."""
    records = dataset.records(split)

    def of(index: int) -> Counted:
        return count_record(records, index, dataset.num_classes)

    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(of, range(len(records)))
        bar = tqdm(found, f"looking at {split}", len(records), disable=None)
        rows = list(bar)
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    names, *digests = columns[:3]
    images, labels = (digest.astype(np.uint64) for digest in digests)
    return Statistics(names, images, labels, *columns[3:])


def count_record(records: Any, index: int, num_classes: int) -> Counted:
    """What one record holds; of a damaged one, no pixel."""
    try:
        record = records[index]
        label, image = decode_mask(record["label"]), record["image"]
        kind = record.get("source", b"").decode() or describe(image)
        pixels = np.bincount(label.ravel(), minlength=IGNORE_LABEL + 1)
    except Exception:  # each reader and parser has its own types
        nothing = np.zeros(num_classes + 1, np.int64)
        return Counted(f"record {index}", 0, 0, DAMAGED, (0, 0), nothing)
    return Counted(
        record["name"].decode(),
        _digest(image),
        _digest(str(label.shape).encode() + label.tobytes()),
        kind,
        label.shape,
        np.append(pixels[:num_classes], pixels[IGNORE_LABEL]),
    )


def _digest(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest())


def describe(image: bytes) -> str:
    """What an encoded image is, from its header alone.

    Example:
        >>> import cv2
        >>> _, png = cv2.imencode(".png", np.zeros((2, 3), np.uint8))
        >>> describe(png.tobytes())
        'PNG, 8-bit grey'
    """
    try:
        with Image.open(io.BytesIO(image)) as opened:
            mode = PLAIN.get(opened.mode)
            words = f"8-bit {mode}" if mode else opened.mode
            turned = opened.getexif().get(ORIENTATION, 1) not in (0, 1)
            frames = getattr(opened, "n_frames", 1)
            first = f", the first of {frames} frames" if frames > 1 else ""
            return f"{opened.format}, {words}{TURNED if turned else ''}{first}"
    except Exception:  # Pillow's decoders raise many types
        return "an image of another kind"
