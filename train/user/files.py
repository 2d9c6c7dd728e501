"""Files that are there as a whole, or not at all."""

import os

from etils import epath


def is_remote(path: epath.PathLike) -> bool:
    """Whether a path is of object storage, such as gs://bucket/run."""
    return "://" in str(path)


def write_whole(path: epath.PathLike, content: str | bytes) -> None:
    """Write a file as a whole, or leave what was there; make the folders above it.

    Args:
        path: of this machine or gs://.
        content: text, in UTF-8, or bytes.

    Raises:
        OSError: it cannot be written.
    """
    file = epath.Path(path)
    data = content.encode(errors="replace") if isinstance(content, str) else content
    file.parent.mkdir(parents=True, exist_ok=True)
    if is_remote(file):  # object storage has no other way
        file.write_bytes(data)
        return
    partial = file.with_name(f"{file.name}.partial")
    try:
        with partial.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())  # or a power cut leaves the name without bytes
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)
