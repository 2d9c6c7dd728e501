"""Large pages of memory, for which the C library asks as a process starts or never."""

import contextlib
import os
import sys
from pathlib import Path

from train.devices.present import GPU, TPU, present

VARIABLE = "GLIBC_TUNABLES"
OPTION = "glibc.malloc.hugetlb"
OFFER = Path("/sys/kernel/mm/transparent_hugepage/enabled")
ACCELERATORS = TPU + GPU


def take_large_pages() -> None:
    """Start this command anew with them, where Linux has them for those who ask.

    On a CPU every update and every image takes fresh memory, which the system clears
    page by page. Machines with an accelerator are left as they are, and so is a process
    that was not started for this script alone: a notebook, a debugger.
    `GLIBC_TUNABLES=glibc.malloc.hugetlb=0` keeps the small pages.
    """
    given = os.environ.get(VARIABLE, "")
    if OPTION in given or not offered() or not plainly_started():
        return
    os.environ[VARIABLE] = f"{given}:{OPTION}=1".lstrip(":")
    with contextlib.suppress(OSError):
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def offered() -> bool:
    """Whether large pages are there for the asking, and no accelerator is."""
    if present(ACCELERATORS):
        return False
    return OFFER.exists() and "[madvise]" in OFFER.read_text()


def plainly_started() -> bool:
    """Whether this process is Python with a script, its arguments and no more."""
    start = len(sys.orig_argv) - len(sys.argv)
    flags, script = sys.orig_argv[1:start], sys.orig_argv[start:]
    return script == sys.argv and all(flag.startswith("-") for flag in flags)
