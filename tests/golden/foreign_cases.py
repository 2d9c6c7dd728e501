"""What foreign.npz was computed from; no torch and no jax here, as in cases.py."""

import numpy as np

from tests.golden import cases

MMSEG_CLASSES = 19
MMSEG_RUNS = {
    50: ((8, (97, 161)), (16, (100, 75))),
    101: ((8, (100, 75)), (16, (97, 161))),
    152: ((8, (100, 75)), (16, (97, 161))),
}
"""OpenMMLab's EMANet, by depth: the (output stride, size) pairs that are stored."""

RESNETS = {
    **{f"timm_resnet{depth}s": depth for depth in cases.STAGE_SIZES},
    **{f"torchvision_resnet{depth}": depth for depth in cases.STAGE_SIZES},
}
"""ImageNet ResNets, built by the packages themselves: key to depth."""

RESNET_RUNS = MMSEG_RUNS

# One forward pass in training; the options of the peer.
MMSEG_TRAIN = {
    "stage_sizes": (1, 1, 1, 2),
    "width": 8,
    "ema_channels": 32,
    "channels": 16,
    "num_bases": 8,
    "dropout": 0.0,
}
TRAIN_SIZE = (3, 65, 49, 3)


def join_shapes(shapes: dict[str, tuple[int, ...]]) -> np.ndarray:
    """Names and shapes as one array of text, `name 64,3,7,7` each."""
    lines = (f"{name} {','.join(map(str, x))}" for name, x in shapes.items())
    return np.array("\n".join(lines))


def split_shapes(text: np.ndarray) -> dict[str, tuple[int, ...]]:
    """The inverse of `join_shapes`."""
    pairs = (line.rsplit(" ", 1) for line in str(text).split("\n"))
    return {name: tuple(int(n) for n in x.split(",") if n) for name, x in pairs}


def run_name(key: str, stride: int, size: tuple[int, int]) -> str:
    """("mmseg50", 8, (97, 161)) -> 'mmseg50/os8/97x161'."""
    return f"{key}/os{stride}/{cases.size_name(size)}"
