"""What a file is, by its first bytes: people's names for files cannot be relied on."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

SAFETENSORS, ZIP, PICKLE = "safetensors", "zip", "pickle"

SUFFIX = ".safetensors"

SAVE = "save its state dict alone, torch.save(model.state_dict(), …)"
"""The mend for a file that holds a program."""

HEAD = 4096
"""Bytes from the start of a file that tell."""


class Foreign(NamedTuple):
    """A file that holds no weights that can be read.

    Attributes:
        what: it is.
        mend: what to give in its place.
        matches: whether a file that begins so is one.
    """

    what: str
    mend: str
    matches: Callable[[bytes], bool]


def _starts(*texts: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(texts)


_AGAIN = "a web server sent it in place of the weights; fetch them again"

FOREIGN = (
    Foreign("an empty file", "fetch it again", lambda head: not head),
    Foreign(
        "a Git LFS pointer, not the file it stands for",
        "run git lfs pull",
        _starts(b"version https://git-lfs"),
    ),
    Foreign(
        "an HTML page",
        _AGAIN,
        lambda head: head.lstrip().lower().startswith((b"<!doctype html", b"<html")),
    ),
    Foreign("XML", _AGAIN, lambda head: head.lstrip().startswith(b"<?xml")),
    Foreign("JSON", _AGAIN, lambda head: head.lstrip()[:1] in (b"{", b"[")),
    Foreign(
        "an ONNX model",
        "give the PyTorch weights it was made from",
        lambda head: head[:1] == b"\x08" and b"\x12" in head[2:4],
    ),
    Foreign(
        "a TensorFlow Lite model",
        "give the PyTorch weights it was made from",
        lambda head: head[4:8] == b"TFL3",
    ),
    Foreign(
        "HDF5, as Keras writes it",
        "no network here has Keras weights; give PyTorch's",
        _starts(b"\x89HDF\r\n\x1a\n"),
    ),
    Foreign("a gzip archive", "unpack it first", _starts(b"\x1f\x8b")),
    Foreign("an xz archive", "unpack it first", _starts(b"\xfd7zXZ")),
    Foreign(
        "a tar archive",
        "unpack it first; of PyTorch before 0.1.10, load and save it again there",
        lambda head: head[257:262] == b"ustar",
    ),
)
"""What people give by mistake."""


def file_kind(path: Path) -> str:
    """`SAFETENSORS`, `ZIP` or `PICKLE`.

    Raises:
        ValueError: any other file; says what it is, where that is known.
        OSError: it cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     _ = file.write(b"<html>404")
        ...     file.flush()
        ...     file_kind(Path(file.name))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: /...: is an HTML page: a web server sent it in place of the \
weights; fetch them again
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**32:
        return SAFETENSORS
    if head.startswith(b"PK\x03\x04"):
        return ZIP
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return PICKLE
    for foreign in FOREIGN:
        if foreign.matches(head):
            raise ValueError(f"{path}: is {foreign.what}: {foreign.mend}")
    raise ValueError(
        f"{path}: no complete file of weights: neither safetensors nor PyTorch's; "
        "fetch it again"
    )
