"""Eight virtual CPU devices, so that sharded programs are tested everywhere."""

import contextlib
import ctypes
import gc
import logging
import os
from pathlib import Path

import jax
import pytest

from tests.quick import FLAGS, collect_rarely
from train.user.programs import make_room, processor

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = " ".join(
    [
        "--xla_force_host_platform_device_count=8",
        *FLAGS,
        os.environ.get("XLA_FLAGS", ""),
    ]
)

KEPT = "JAX_COMPILATION_CACHE_DIR"
"""Where a process finds the programs that another one, or another run, has compiled."""

if KEPT not in os.environ:  # in the first process of a run
    kept = Path(__file__).parents[1] / ".cache/programs" / processor()
    kept.mkdir(parents=True, exist_ok=True)
    make_room(kept, 2**30)
    os.environ[KEPT] = str(kept)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
jax.config.update("jax_compilation_cache_dir", os.environ[KEPT])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

collect_rarely()

ROOM = 900 * 2**20
"""Bytes that a process may hold from one test file to the next."""


@pytest.fixture(scope="module", autouse=True)
def programs():
    """They are let go where a process holds many; in the end it would be gigabytes."""
    yield
    if resident() > ROOM:
        jax.clear_caches()
        gc.collect()
        gc.freeze()  # what lives on is mostly modules: the next search leaves it out
        with contextlib.suppress(OSError, AttributeError):  # where there is no glibc
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def resident() -> int:
    """Bytes of memory that this process holds; 0 where the system does not say it."""
    statm = Path("/proc/self/statm")
    pages = int(statm.read_text().split()[1]) if statm.exists() else 0
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module", autouse=True)
def modules(request):
    """How the modules of a network run: as `MODULES` of the test file says."""
    with getattr(request.module, "MODULES", contextlib.nullcontext)():
        yield


@pytest.fixture(autouse=True)
def logger():
    """Leaves the log as it is when nothing has run: a command sets it for itself."""
    yield
    log = logging.getLogger("ema_jax")
    log.handlers, log.level, log.propagate = [], logging.NOTSET, True


@pytest.fixture
def compilations():
    """How many programs were compiled since the last call."""
    durations: list[str] = []

    def note(event: str, duration: float, **_) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            durations.append(event)

    jax.monitoring.register_event_duration_secs_listener(note)

    def count() -> int:
        number = len(durations)
        durations.clear()
        return number

    return count
