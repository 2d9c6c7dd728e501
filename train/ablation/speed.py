"""The speed of a training, from its own report."""

import statistics
import struct
from collections.abc import Iterator
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event

TAG = "train/images_per_second"


def images_per_second(workdir: str) -> float | None:
    """Median over the intervals of a training, None if it reported none.

    The first interval after each start holds the compiling, and is left out where
    there are others.
    """
    starts = [
        list(_values(file))
        for file in sorted((Path(workdir) / "tensorboard").glob("*tfevents*"))
    ]
    later = [value for values in starts for value in values[1:]]
    found = later or [value for values in starts for value in values]
    return statistics.median(found) if found else None


def _values(file: Path) -> Iterator[float]:
    """The points of `TAG` in a TensorBoard file, up to where it was cut off."""
    data = file.read_bytes()
    start = 0
    while start + 12 <= len(data):
        (length,) = struct.unpack("<Q", data[start : start + 8])
        record = data[start + 12 : start + 12 + length]
        if len(record) < length:
            return
        for value in Event.FromString(record).summary.value:
            if value.tag == TAG:
                yield value.simple_value
        start += 12 + length + 4  # length and its checksum, record, checksum
