"""Published archives: checked, and unpacked whole or not at all."""

import hashlib
import io
import logging
import os
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from train.user.errors import UserError

log = logging.getLogger("ema_jax")

_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError)


@dataclass(frozen=True)
class Archive:
    """One published file.

    Attributes:
      file: its published name.
      folder: what it becomes, relative to the data set's root.
      page: where a person finds it.
      url: where a program may fetch it; None where one must register first.
      member: the folder inside the archive that becomes `folder`; None: of that name.
      checksum: "md5:…", "sha1:…" or "sha256:…", where one has been published.
    """

    file: str
    folder: str
    page: str
    url: str | None = None
    member: str | None = None
    checksum: str | None = None


def unpack_found(root: Path, archives: Sequence[Archive]) -> None:
    """Unpacks those of `archives` that lie in `root` and are not unpacked there yet."""
    for archive in archives:
        if (root / archive.file).is_file() and not (root / archive.folder).exists():
            unpack(archive, root)


def unpack(archive: Archive, root: Path) -> None:
    """Makes `root/archive.folder` of `root/archive.file`, in one step.

    Raises:
      UserError: the archive is damaged or another, or `root` cannot be written; what
        had been unpacked by then is removed.
    """
    path = root / archive.file
    log.info("unpacking %s, once, in %s", path, root)
    verify(path, archive)
    try:
        scratch = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=root))
    except OSError as error:
        raise UserError(
            f"{root}: cannot be written ({error.strerror}); unpack {archive.file} in a "
            "folder of your own and give it with --config.data.root=…"
        ) from error
    try:
        _extract(path, scratch)
        found = scratch / (archive.folder if archive.member is None else archive.member)
        if not found.is_dir():
            raise UserError(
                f"{path}: holds no {found.relative_to(scratch)}; {_again(archive)}"
            )
        _publish(found, root / archive.folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def verify(path: Path, archive: Archive) -> None:
    """UserError unless the file has the checksum that was published for it."""
    if archive.checksum is None:
        return
    kind, wanted = archive.checksum.split(":")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, kind).hexdigest()
    if found != wanted:
        raise UserError(
            f"{path}: is damaged, truncated or another file ({kind} {found}, not "
            f"{wanted}); {_again(archive)}"
        )


def _again(archive: Archive) -> str:
    return f"fetch it again from {archive.url or archive.page}"


def _extract(path: Path, target: Path) -> None:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as zipped:
                zipped.extractall(target)
        else:
            with tarfile.open(path) as tar:
                tar.extractall(target, filter="data")
                _check_end(tar)
    except _DAMAGE as error:
        # the system's own errors are numbered: a full disk, most often
        numbered = isinstance(error, OSError) and error.errno is not None
        mend = "make room" if numbered else "it is damaged or truncated, fetch it again"
        raise UserError(
            f"{path}: cannot be unpacked ({' '.join(str(error).split())}); {mend}"
        ) from error


def _check_end(tar: tarfile.TarFile) -> None:
    """A tar file cut off between two members looks whole but for its last block.

    A compressed one has an end mark of its own, which its reader has seen.
    """
    if isinstance(tar.fileobj, io.BufferedReader):
        tar.fileobj.seek(tar.offset)
        if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("no end of archive")


def _publish(folder: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.rename(folder, target)
    except OSError:
        if not target.is_dir():  # another process was no faster
            raise
