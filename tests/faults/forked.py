"""`main.py` with the models of `tests/micro.py`, in a process forked from one.

That one has imported everything and used no device: importing takes longer than what a
small training does.
"""

import atexit
import faulthandler
import multiprocessing
import os
from multiprocessing.process import BaseProcess
from pathlib import Path

import main
from ema_jax import MODELS
from tests.micro import MICRO, NANO
from tests.quick import collect_rarely
from train.devices.distributed import end

collect_rarely()  # in the process that is forked

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload([__name__])


def start(arguments: list[str], environment: dict[str, str], log: Path) -> BaseProcess:
    """A process that runs a command, and writes what it says into a file."""
    log.write_bytes(b"")  # it is looked into at once
    process = _SERVER.Process(target=_become, args=(arguments, environment, log))
    process.start()
    return process


def _become(arguments: list[str], environment: dict[str, str], log: Path) -> None:
    file = os.open(log, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(file, stream)
    faulthandler.enable()
    os.environ.clear()
    os.environ.update(environment)
    MODELS.update(micro=MICRO, nano=NANO)
    try:
        end(lambda: main.main(arguments))
    finally:
        atexit._run_exitfuncs()  # which `multiprocessing` leaves out
