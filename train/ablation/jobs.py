"""Several commands at a time, each on its share of the cores."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from train.user.errors import UserError

ROOT = Path(__file__).parents[2]
"""Where `train` and `configs` are imported from."""

POLL = 0.1  # s
PATIENCE = 10.0  # s between asking a process to end and ending it


class Job(NamedTuple):
    """A command, and the file that takes what it prints."""

    command: Sequence[str]
    log: Path


def run_jobs(
    jobs: Sequence[Job], at_once: int, done: Callable[[int, int], None]
) -> None:
    """Run all jobs, `at_once` at a time, in order.

    An interruption, and SIGTERM as well, ends those that run and is then raised as
    `KeyboardInterrupt`. Each has a pipe as its standard input, which it can watch to
    notice that this process is gone.

    Args:
        jobs: what to run.
        at_once: how many, at most one a core; on Linux each is kept to its share.
        done: called with the index and the exit status of each job that ended.
    """
    waiting = list(enumerate(jobs))[::-1]
    slots: dict[int, tuple[int, subprocess.Popen]] = {}
    with _sigterm_interrupts():
        try:
            while waiting or slots:
                for slot in range(at_once):
                    if slot not in slots and waiting:
                        index, job = waiting.pop()
                        slots[slot] = index, _start(job)
                        _pin(slots[slot][1].pid, cores(slot, at_once))
                for slot, (index, process) in list(slots.items()):
                    if process.poll() is not None:
                        del slots[slot]
                        process.communicate()  # closes its input
                        done(index, process.returncode)
                time.sleep(POLL)
        finally:
            _stop([process for _, process in slots.values()])


def check_jobs(jobs: int) -> None:
    """Raise a UserError unless each of so many jobs can have a core."""
    count = len(available_cores())
    if not 1 <= jobs <= count:
        raise UserError(
            f"--jobs={jobs} cannot be used; give 1 to {count}, the number of cores"
        )


def available_cores() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def cores(slot: int, slots: int) -> list[int]:
    """The cores of one of several slots, as many for each; a remainder rests."""
    available = available_cores()
    share = len(available) // slots
    return available[slot * share : (slot + 1) * share]


def environment() -> dict[str, str]:
    """That of this process, so that our modules are found from any folder."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _start(job: Job) -> subprocess.Popen:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("ab") as log:
        return subprocess.Popen(
            job.command,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches us alone
        )


def _pin(process: int, to: Sequence[int]) -> None:
    """Keep a process to some cores, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):  # it has ended already
            os.sched_setaffinity(process, to)


def _stop(processes: Sequence[subprocess.Popen]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        with process:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt, as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def end_with_parent() -> None:
    """End this process when whoever holds the other end of its input is gone."""

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
