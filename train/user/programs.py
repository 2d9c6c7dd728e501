"""Compiled programs that outlive the process that compiled them."""

import hashlib
import logging
import os
import platform
from pathlib import Path

import jax

ROOM = 4 * 2**30
"""Bytes that the programs may take; the oldest make way."""

log = logging.getLogger("ema_jax")


def keep_programs() -> None:
    """Have JAX keep what it compiles, and read it the next time.

    That is in the user's folder of caches, apart for each kind of processor: homes are
    shared, and a program of one may not run on another. `JAX_COMPILATION_CACHE_DIR`
    names another folder, `JAX_ENABLE_COMPILATION_CACHE=false` keeps nothing.
    """
    given = jax.config.values
    turned_on = given["jax_enable_compilation_cache"]
    if not turned_on or given["jax_compilation_cache_dir"]:
        return
    try:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = caches / "ema_jax" / "programs" / processor()
        is_new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        make_room(folder, ROOM)
    except (OSError, RuntimeError):  # no home, or a closed one: no reason not to train
        return
    if is_new:
        log.info(
            "note: compiled programs are kept in %s, for the next start; "
            "JAX_ENABLE_COMPILATION_CACHE=false keeps none",
            folder,
        )
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def processor() -> str:
    """A short name for processors that run the same programs."""
    cpus = Path("/proc/cpuinfo")
    features = [platform.machine(), platform.processor()]
    if cpus.exists():
        lines = cpus.read_text().splitlines()
        features += [line for line in lines if line.startswith(("flags", "Features"))]
    found = "\n".join(dict.fromkeys(features))
    return hashlib.sha256(found.encode()).hexdigest()[:12]


def make_room(folder: Path, room: int) -> None:
    """Delete the oldest files of a folder until the others take no more than `room`."""
    files = [(path.stat(), path) for path in folder.iterdir()]
    for status, path in sorted(files, key=lambda file: -file[0].st_mtime):
        room -= status.st_size
        if room < 0:
            path.unlink(missing_ok=True)
