"""The files of `torch.save`, zip and older pickle, read without PyTorch."""

import io
import math
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.lib.stride_tricks import as_strided

from ema_jax.weights.file_kind import SAVE
from ema_jax.weights.unpickle import Name, RefusedError, unpickle

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
MAX_EXPANDED = 2**28
"""Elements of a tensor that repeats those of its storage."""

DTYPES: dict[str, np.dtype] = {
    "Double": np.dtype("<f8"),
    "Float": np.dtype("<f4"),
    "Half": np.dtype("<f2"),
    "BFloat16": np.dtype(jnp.bfloat16),
    "Long": np.dtype("<i8"),
    "Int": np.dtype("<i4"),
    "Short": np.dtype("<i2"),
    "Char": np.dtype("i1"),
    "Byte": np.dtype("u1"),
    "Bool": np.dtype("?"),
}
"""Name of a storage, without its ending, to the type of its numbers."""


class StorageType(NamedTuple):
    """Stands for a class such as `torch.FloatStorage`."""

    dtype: np.dtype


class Storage(NamedTuple):
    """Numbers in a file: under which key, of which type, and which of them."""

    key: str
    dtype: np.dtype
    start: int
    length: int


class Tensor(NamedTuple):
    """A view of a storage; sizes and strides count numbers."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def rebuild_tensor(
    storage: Storage, offset: int, size: Any, stride: Any, *_: Any
) -> Tensor:
    """`torch._utils._rebuild_tensor_v2`; gradients and hooks are not looked at."""
    return Tensor(storage, offset, tuple(size), tuple(stride))


def rebuild_parameter(data: Tensor, *_: Any) -> Tensor:
    """`torch._utils._rebuild_parameter`."""
    return data


def ordered(pairs: Any = ()) -> dict[Any, Any]:
    """`collections.OrderedDict`."""
    return dict(pairs)


def size(numbers: Any = ()) -> tuple[Any, ...]:
    """`torch.Size`."""
    return tuple(numbers)


NAMES: dict[Name, Any] = {
    ("collections", "OrderedDict"): ordered,
    ("torch", "Size"): size,
    ("torch._utils", "_rebuild_tensor"): rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): rebuild_parameter,
    **{
        ("torch", f"{name}Storage"): StorageType(dtype)
        for name, dtype in DTYPES.items()
    },
}
"""All that a file may name."""


class ForeignError(ValueError):
    """A whole file of another kind; the message says which, after its name."""


class TorchFile(NamedTuple):
    """An open file.

    Attributes:
        content: what was saved, with `Tensor`s in place of tensors.
        read: the bytes of the record of a storage.
    """

    content: Any
    read: Callable[[Storage], bytes]

    def array(self, tensor: Tensor) -> np.ndarray:
        """The numbers of a tensor, read from the file now.

        Raises:
            ValueError: it reaches beyond its storage.
            Exception: damaged bytes can raise anything.
        """
        storage, offset, size, stride = tensor
        numbers = [offset, *size, *stride]
        if len(size) != len(stride) or not all(_is_count(n) for n in numbers):
            raise ValueError(f"a tensor of size {size} and stride {stride}")
        elements = math.prod(size)
        last = offset + sum(
            (n - 1) * step for n, step in zip(size, stride, strict=True)
        )
        if elements and last >= storage.length:
            raise ValueError(f"a tensor of {last + 1} numbers in {storage.length}")
        if elements > max(storage.length, MAX_EXPANDED):
            raise ValueError(f"a tensor of {elements} numbers from {storage.length}")
        itemsize = storage.dtype.itemsize
        start, length = (n * itemsize for n in (storage.start, storage.length))
        data = self.read(storage)[start : start + length]
        if len(data) != length:
            raise ValueError(f"{len(data)} bytes of {length}")
        if not elements:
            return np.empty(size, storage.dtype)
        found = np.frombuffer(data, storage.dtype)[offset:]
        strides = [step * itemsize for step in stride]
        return as_strided(found, size, strides, writeable=False)


@contextmanager
def open_zip(path: Path) -> Iterator[TorchFile]:
    """What `torch.save` writes since PyTorch 1.6.

    Raises:
        RefusedError: TorchScript, an archive of another kind, or more than data.
        Exception: damaged bytes can raise anything.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        roots = [n.removesuffix("data.pkl") for n in names if n.endswith("data.pkl")]
        if not roots:
            raise ForeignError("is a zip archive that torch.save did not write")
        root = min(roots, key=len)
        if any(name.startswith(f"{root}code/") for name in names):
            raise ForeignError(f"is TorchScript, which is a program: {SAVE}")
        order = f"{root}byteorder"
        if order in names and archive.read(order) != b"little":
            raise ForeignError(
                "holds numbers in big-endian order, which none here reads"
            )

        def storage(key: Any) -> Storage:
            dtype, name, count = _storage_id(key)
            return Storage(name, dtype, 0, count)

        with archive.open(f"{root}data.pkl") as stream:
            content = unpickle(io.BytesIO(stream.read()), NAMES, storage)
        yield TorchFile(content, lambda s: archive.read(f"{root}data/{s.key}"))


@contextmanager
def open_pickle(path: Path) -> Iterator[TorchFile]:
    """What `torch.save` wrote before: four pickles, then the storages one by one.

    Raises: as `open_zip`.
    """
    itemsizes: dict[str, int] = {}

    def storage(key: Any) -> Storage:
        dtype, name, count = _storage_id(key)
        itemsizes[name] = dtype.itemsize
        part = key[5] if len(key) > 5 else None
        if part is None:
            return Storage(name, dtype, 0, count)
        _, start, count = part
        return Storage(name, dtype, start, count)

    with path.open("rb") as file:
        plain = partial(unpickle, file, {}, _no_storage)
        first = plain()
        if first != MAGIC:
            raise ForeignError(
                f"is a pickle of {type(first).__name__} that torch.save did not write"
            )
        if plain() != PROTOCOL:
            raise ValueError("another protocol")
        plain()  # of the system that wrote it
        content = unpickle(file, NAMES, storage)
        places = {}
        for name in plain():
            [count] = struct.unpack("<Q", file.read(8))
            places[name] = file.tell(), count * itemsizes[name]
            file.seek(places[name][1], io.SEEK_CUR)

        if file.tell() > path.stat().st_size:
            raise ValueError("the last of its numbers are missing")

        def read(storage: Storage) -> bytes:
            start, length = places[storage.key]
            file.seek(start)
            return file.read(length)

        yield TorchFile(content, read)


def _no_storage(key: Any) -> Any:
    raise ValueError(f"a storage {key!r} where none belongs")


def _storage_id(key: Any) -> tuple[np.dtype, str, int]:
    """Type, key and number of what a persistent id names."""
    if not isinstance(key, tuple) or len(key) < 5 or key[0] != "storage":
        raise RefusedError(f"a whole {key[0] if isinstance(key, tuple) else key}")
    _, kind, name, _, count, *_ = key
    if not isinstance(kind, StorageType) or not _is_count(count):
        raise ValueError(f"a storage of {count} numbers of {kind}")
    return kind.dtype, str(name), count


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0
