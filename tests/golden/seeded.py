"""Weights and inputs that need not be stored: a name, a shape and a seed give them.

NumPy only. Everything is drawn from the raw output of PCG64, which NumPy keeps the same
between its versions, and is uniform: no transcendental function is evaluated, so the
values are the same to the last bit on every platform.
"""

import math
import zlib
from collections.abc import Mapping

import numpy as np

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
IGNORE_LABEL = 255

# Interval of the scale of a BatchNorm. That of the last one of a bottleneck is small,
# and that of its shortcut below one, so that a sum over 50 blocks stays O(1).
SCALE_RANGES = {
    ".bn3.weight": (0.05, 0.2),
    ".downsample.1.weight": (0.4, 1.2),
    "": (0.5, 1.5),
}
# Times the standard deviation of the first convolution of the EMA unit, so that the
# responsibilities are neither uniform nor one-hot.
EM_INPUT_GAIN = 1.25
# The release's name and OpenMMLab's.
CLASSIFIERS = ("fc2.weight", "conv_seg.weight")
EM_INPUTS = ("emau.conv1.weight", "ema_mid_conv.conv.weight")
EM_OUTPUTS = ("emau.conv2.0.weight", "ema_out_conv.conv.weight")


def _uniform(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Float64 in [0, 1), from the crc32 of the name, the shape and the seed."""
    key = [zlib.crc32(name.encode()), *shape, seed]
    raw = np.random.PCG64(np.random.SeedSequence(key)).random_raw(math.prod(shape))
    raw >>= np.uint64(11)
    return (raw * 2.0**-53).reshape(shape)


def _between(u: np.ndarray, low: float, high: float) -> np.ndarray:
    return low + (high - low) * u


def _centred(u: np.ndarray, std: float) -> np.ndarray:
    """Uniform with mean 0 and the given standard deviation, in the place of u."""
    u *= 2.0
    u -= 1.0
    u *= math.sqrt(3.0) * std
    return u


def _conv_std(name: str, shape: tuple[int, ...]) -> float:
    """He's, but for the classifier and the two convolutions of the EMA unit.

    The classifier has the deviation of PyTorch's default, so that training is tame. The
    bases have norm 1, so the second convolution of the unit multiplies by the root of
    the channels, to make the attention weigh as much as the residual.
    """
    fan_in = math.prod(shape[1:])
    if name.endswith(CLASSIFIERS):
        return math.sqrt(1.0 / (3.0 * fan_in))
    gain = 1.0
    if name.endswith(EM_INPUTS):
        gain = EM_INPUT_GAIN
    elif name.endswith(EM_OUTPUTS):
        gain = math.sqrt(fan_in)
    return gain * math.sqrt(2.0 / fan_in)


def _scale_range(name: str) -> tuple[float, float]:
    return next(pair for end, pair in SCALE_RANGES.items() if name.endswith(end))


def values(name: str, shape: tuple[int, ...], *, seed: int = 0) -> np.ndarray:
    """The float32 array of this name and shape. The end of the name says what it is.

    `mu` and `bases` [1, C, K]: unit columns. `running_var`: [0.5, 1.5].
    `running_mean` and `bias`: standard deviation 0.1. `weight`: of a convolution (four
    axes, OIHW) standard deviation sqrt(2 / fan_in), of a BatchNorm [0.5, 1.5], with
    exceptions (see `_conv_std` and SCALE_RANGES). Anything else, an input say: mean 0,
    variance 1.
    """
    shape = tuple(int(size) for size in shape)
    u = _uniform(name, shape, seed)
    leaf = name.rpartition(".")[2]
    if leaf in ("mu", "bases"):
        x = _centred(u, 1.0)
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
    elif leaf == "running_var":
        x = _between(u, 0.5, 1.5)
    elif leaf in ("running_mean", "bias"):
        x = _centred(u, 0.1)
    elif leaf == "weight" and len(shape) == 4:
        x = _centred(u, _conv_std(name, shape))
    elif leaf == "weight":
        x = _between(u, *_scale_range(name))
    else:
        x = _centred(u, 1.0)
    return x.astype(np.float32)


def state_dict(
    shapes: Mapping[str, tuple[int, ...]],
    *,
    seed: int = 0,
    gain: float = 1.0,
    em_gain: float | None = None,
) -> dict[str, np.ndarray]:
    """`values` of every name; weights of convolutions times gain, of `fc2` over it.

    In training a gain above one changes the outputs little, BatchNorm undoing it, and
    divides the gradients: a run of many steps then stays close to itself in float32.
    `em_gain` is that of the convolution before EM, in place of `gain`: the smaller,
    the softer the responsibilities.
    """
    em_gain = gain if em_gain is None else em_gain
    weights = {name: values(name, shape, seed=seed) for name, shape in shapes.items()}
    for name, x in weights.items():
        if x.ndim == 4 and name.endswith("fc2.weight"):
            x /= np.float32(gain)
        elif x.ndim == 4:
            x *= np.float32(em_gain if name.endswith(EM_INPUTS) else gain)
    return weights


def _blocks(u: np.ndarray, cell: int, height: int, width: int) -> np.ndarray:
    """Repeat [B, h, w, ...] to cells of `cell` pixels, cropped to height and width."""
    tall = np.repeat(u, cell, axis=1)[:, :height]
    return np.repeat(tall, cell, axis=2)[:, :, :width]


def image(shape: tuple[int, int, int, int], seed: int = 0) -> np.ndarray:
    """Float32 [B, H, W, 3]: noisy patches of colour after ImageNet normalisation."""
    batch, height, width, channels = shape
    cell = 12
    grid = (batch, -(-height // cell), -(-width // cell), channels)
    patches = _blocks(_uniform("patches", grid, seed), cell, height, width)
    x = 0.7 * patches + 0.3 * _uniform("noise", shape, seed)
    return ((x - IMAGENET_MEAN) / IMAGENET_STD).astype(np.float32)


def labels(shape: tuple[int, int, int], num_classes: int, seed: int = 0) -> np.ndarray:
    """Int32 [B, H, W]: patches of classes.

    The last (11 b + 5 seed) mod (H + 1) rows of image b are ignored.
    """
    batch, height, width = shape
    cell = 8
    grid = (batch, -(-height // cell), -(-width // cell))
    classes = (_uniform("classes", grid, seed) * num_classes).astype(np.int32)
    y = _blocks(classes, cell, height, width).copy()
    for b in range(batch):
        ignored = (11 * b + 5 * seed) % (height + 1)
        y[b, height - ignored :] = IGNORE_LABEL
    return y
