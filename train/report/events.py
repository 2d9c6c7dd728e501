"""TensorBoard's figures and pictures of a training, a file for each start."""

import socket
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorboardX import summary
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter, directory_check

from train.report.history import in_workdir

SECONDS = 60
"""After which what was added is on disk at the latest, once more is added."""


class Events:
    """A file `events.out.tfevents.*`, written by the thread that calls.

    tensorboardX's `SummaryWriter` leaves that to another one: its `flush` does not wait
    for what that has not got yet, and it dies where the disk is full.
    """

    def __init__(self, folder: str, first_step: int):
        """Begin at `first_step`; TensorBoard drops what a lost run wrote after it.

        Raises:
            UserError: it cannot be written; so do all methods.
        """
        self._folder, self._flushed = folder, time.monotonic()
        # The step, as two starts may fall in one second.
        start = f"{int(time.time())}.{socket.gethostname()}.{first_step:09}"
        with in_workdir(self._folder):
            directory_check(folder)
            self._file = RecordWriter(f"{folder}/events.out.tfevents.{start}")
        self._write(0, file_version="brain.Event:2")
        self._write(first_step, session_log=SessionLog(status=SessionLog.START))

    def scalars(self, step: int, figures: Mapping[str, float]) -> None:
        """Add figures by name."""
        made = [summary.scalar(name, value) for name, value in figures.items()]
        values = [value for one in made for value in one.value]
        self._write(step, summary=Summary(value=values))

    def picture(self, step: int, name: str, pixels: np.ndarray) -> None:
        """Add a picture, uint8 (H, W, 3)."""
        self._write(step, summary=summary.image(name, pixels, dataformats="HWC"))

    def flush(self) -> None:
        """Have on disk what was added, as a killed process would lose it."""
        self._flushed = time.monotonic()
        with in_workdir(self._folder):
            self._file.flush()

    def close(self) -> None:
        """Flush and release."""
        with in_workdir(self._folder):
            try:
                self._file.flush()
            finally:
                self._file.close()

    def _write(self, step: int, **what: Any) -> None:
        event = Event(step=step, wall_time=time.time(), **what)
        with in_workdir(self._folder):
            self._file.write(event.SerializeToString())
        if time.monotonic() > self._flushed + SECONDS:
            self.flush()
