"""Which accelerators a machine has, by their device files, before jax is imported."""

import glob
from collections.abc import Iterable

TPU = ("/dev/accel*", "/dev/vfio/[0-9]*")
GPU = ("/dev/nvidia[0-9]*", "/dev/kfd")


def present(files: Iterable[str]) -> bool:
    """Whether there is a file of one of the patterns."""
    return any(glob.glob(pattern) for pattern in files)
