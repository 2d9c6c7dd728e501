"""One training to a workdir."""

import errno
import fcntl
import logging
import os
import socket
from pathlib import Path
from typing import IO

from train.user.errors import UserError

NAME = "training.lock"

log = logging.getLogger("ema_jax")


class WorkdirLock:
    """Holds `workdir/training.lock` until it is closed, or its process dies.

    The operating system keeps and releases the lock, so that a file left by a killed
    training locks nothing. It holds on a local disk and on NFS; on object storage
    there are no locks, and nothing is checked.
    """

    def __init__(self, workdir: str):
        """Take the lock.

        Raises:
            UserError: another training has it.
        """
        path = Path(workdir) / NAME
        self._file: IO[str] = path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                log.warning("%s: no locks here (%s)", path, error.strerror)
                return
            self._file.seek(0)
            holder = " ".join(self._file.read().split()) or "unknown"
            self._file.close()
            raise UserError(
                f"--workdir={workdir} is in use by another training ({holder}); stop "
                "that one, or choose another workdir"
            ) from None
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        self._file.flush()

    def close(self) -> None:
        """Release the lock; the file stays."""
        self._file.close()
