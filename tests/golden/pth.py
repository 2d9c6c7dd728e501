"""A zip file as `torch.save` writes it; `make_pth.py` holds it to PyTorch's own."""

import struct
import zipfile
from pathlib import Path

import numpy as np

STORAGES = {
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "int64": "LongStorage",
}


def write_pth(path: Path, state: dict[str, np.ndarray], root: str = "archive") -> None:
    """Save a state dict, an ordered dictionary of contiguous tensors."""
    body = [b"\x80\x02", _name("collections", "OrderedDict"), b")R("]
    for index, (name, array) in enumerate(state.items()):
        storage = [
            b"(",
            _text("storage"),
            _name("torch", STORAGES[array.dtype.name]),
        ]
        storage += [_text(str(index)), _text("cpu"), _number(array.size), b"tQ"]
        strides = [step // array.itemsize for step in array.strides]
        body += [_text(name), _name("torch._utils", "_rebuild_tensor_v2"), b"("]
        body += [*storage, _number(0), _numbers(array.shape), _numbers(strides)]
        body += [b"\x89", _name("collections", "OrderedDict"), b")RtR"]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{root}/data.pkl", b"".join([*body, b"u."]))
        archive.writestr(f"{root}/byteorder", b"little")
        for index, array in enumerate(state.values()):
            archive.writestr(f"{root}/data/{index}", array.tobytes())
        archive.writestr(f"{root}/version", b"3\n")


def _name(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def _number(number: int) -> bytes:
    return b"J" + struct.pack("<i", number)


def _numbers(numbers) -> bytes:
    return b"(" + b"".join(map(_number, numbers)) + b"t"
