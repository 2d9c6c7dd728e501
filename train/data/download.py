"""Fetching the archives that may be fetched without registration."""

import contextlib
import fcntl
import http.client
import logging
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import tensorflow_datasets as tfds
from tqdm import tqdm

from train.data.archives import Archive, unpack, unpack_found, verify
from train.data.listing import resolve_root
from train.user.errors import UserError

log = logging.getLogger("ema_jax")

_TIMEOUT = 60  # seconds without a byte
_PARTIAL = 206  # HTTP: the server goes on where we asked it to


def provide(
    name: str, archives: Sequence[Archive], root: str | None, data_dir: str | None
) -> Path:
    """The folder that holds a data set's files, unpacked.

    With `root`, archives that lie there are unpacked next to themselves. Without, they
    are fetched into `data_dir/downloads`, which all data sets share.

    Raises:
      UserError: no `root` for a set that cannot be fetched, a failed download, a
        damaged archive.
    """
    if root:
        home = resolve_root(root, name)
        unpack_found(home, archives)
        return home
    closed = [archive for archive in archives if archive.url is None]
    if closed:
        listed = "; ".join(f"{archive.file} from {archive.page}" for archive in closed)
        raise UserError(
            f"data set '{name}' cannot be fetched without registration; put its "
            f"archives, packed or unpacked, in a folder: {listed}; and give the "
            "folder with --config.data.root=…"
        )
    home = Path(data_dir or tfds.core.constants.DATA_DIR).expanduser() / "downloads"
    for archive in archives:
        with _one_process(home, archive):
            if not (home / archive.folder).exists():
                fetch(archive, home)
                unpack(archive, home)
                (home / archive.file).unlink()  # it is as large as what it held
    return home


@contextlib.contextmanager
def _one_process(home: Path, archive: Archive) -> Iterator[None]:
    """Lets one process fetch an archive while the others wait for it."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = (home / f".{archive.file}.lock").open("w")
    except OSError as error:
        raise UserError(
            f"{home}: cannot be written ({error.strerror}); give another folder with "
            "--config.data.data_dir=…"
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fetch(archive: Archive, folder: Path) -> Path:
    """Downloads an archive; an interrupted download goes on where it stopped.

    Until it is whole and its checksum right, the file is called `….part`.
    """
    target, part = folder / archive.file, folder / f"{archive.file}.part"
    if target.exists():
        return target
    try:
        with part.open("ab") as file:
            _append(archive, file)
        _check(part, archive)
        part.rename(target)
    except (OSError, http.client.HTTPException) as error:
        if part.exists() and not part.stat().st_size:
            part.unlink()
        reason = getattr(error, "reason", None) or error
        raise UserError(
            f"{archive.url}: cannot be fetched into {folder} ({reason}); run again to "
            f"go on, or fetch it by hand and give its folder with --config.data.root=…"
        ) from error
    return target


def _append(archive: Archive, file: IO[bytes]) -> None:
    done = file.tell()
    assert archive.url is not None
    request = urllib.request.Request(archive.url)
    if done:
        request.add_header("Range", f"bytes={done}-")
    try:
        reply = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and done:
            return  # all of it is there already
        raise
    with reply:
        if getattr(reply, "status", None) != _PARTIAL:
            file.truncate(0)
            done = 0
        left = reply.headers.get("Content-Length")
        log.info("fetching %s", archive.url)
        bar = tqdm.wrapattr(  # silent where nobody watches
            reply,
            "read",
            total=done + int(left) if left else None,
            initial=done,
            desc=archive.file,
            disable=None,
        )
        with bar as counted:
            shutil.copyfileobj(counted, file)
    file.flush()
    if left and file.tell() != done + int(left):
        raise OSError(f"the connection broke off after {file.tell()} bytes")


def _check(part: Path, archive: Archive) -> None:
    try:
        verify(part, archive)
    except UserError:
        part.unlink()  # going on from it could not mend it
        raise
