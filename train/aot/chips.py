"""What a TPU chip has."""

from typing import NamedTuple

from train.devices.memory import GIB


class Chip(NamedTuple):
    """One chip.

    Attributes:
        memory: bytes of HBM. The compiler keeps some for itself.
        flops: of bfloat16 products, at most, in a second.
        bandwidth: bytes between HBM and the chip in a second, at most.
    """

    memory: int
    flops: float
    bandwidth: float


CHIPS = {
    "v4": Chip(32 * GIB, 275e12, 1200e9),
    "v5e": Chip(16 * GIB, 197e12, 819e9),
    "v5p": Chip(95 * GIB, 459e12, 2765e9),
    "v6e": Chip(32 * GIB, 918e12, 1640e9),
}
"""By the name that a topology begins with.

Reference: cloud.google.com/tpu/docs/v4, /v5e, /v5p and /v6e, "system architecture".
"""


def find_chip(topology: str) -> Chip | None:
    """The chip of a topology; None for one that is not listed.

    Example:
        >>> find_chip("v5e:4x4").memory // GIB
        16
        >>> find_chip("v3:2x2") is None
        True
    """
    return CHIPS.get(topology.partition(":")[0])
