"""Writes evaluation.npz: PyTorch's multi-scale, flipped and sliding-window logits.

    python tests/golden/make_evaluation.py

One image at a time, in a plain loop, in float64. Keys, for each (height, width) of
`EVALUATION_SIZES`, all `cases.sample` of [H, W, classes]:
  {size}/single                 one scale
  {size}/multi_scale            sum over `EVALUATION_SCALES` and mirror images
  {size}/window                 mean over windows of `EVALUATION_WINDOW`
"""

import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.golden import cases, seeded
from tests.golden.evaluation_cases import (
    EVALUATION_OVERLAP,
    EVALUATION_SCALES,
    EVALUATION_SIZES,
    EVALUATION_WINDOW,
)
from tests.golden.make import channels_first, make_network, save


def resize(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(x, size, mode="bilinear", align_corners=True)


def whole(model: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
    """Pad at the bottom and right to 8k+1 with zeros, and crop the logits."""
    height, width = image.shape[2:]
    below, beside = -(height - 1) % 8, -(width - 1) % 8
    return model(F.pad(image, (0, beside, 0, below)))[:, :, :height, :width]


def multi_scale(model: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
    height, width = image.shape[2:]
    total = torch.zeros(())
    for scale in EVALUATION_SCALES:
        scaled = resize(image, (int(height * scale), int(width * scale)))
        for flip in (False, True):
            logits = whole(model, scaled.flip(3) if flip else scaled)
            logits = logits.flip(3) if flip else logits
            total = total + resize(logits, (height, width))
    return total


def starts(length: int, window: int) -> list[int]:
    """Every (1 - overlap) of a window, and one that ends with the image."""
    step = int(window * (1 - EVALUATION_OVERLAP))
    found, start = [], 0
    while start + window < length:
        found.append(start)
        start += step
    return [*found, max(length - window, 0)]


def sliding(model: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
    height, width = image.shape[2:]
    rows, columns = EVALUATION_WINDOW
    total, count = torch.zeros(()), torch.zeros(height, width)
    for top in starts(height, rows):
        for left in starts(width, columns):
            place = slice(top, top + rows), slice(left, left + columns)
            logits = whole(model, image[(..., *place)])
            below = height - top - logits.shape[2]
            beside = width - left - logits.shape[3]
            total = total + F.pad(logits, (left, beside, top, below))
            count[place] += 1
    return total / count


@torch.no_grad()
def main() -> None:
    model = make_network(cases.TRAIN_NETWORK, torch.float64, cases.TRAIN_GAIN).eval()
    arrays = {}
    for size in EVALUATION_SIZES:
        image = channels_first(seeded.image((1, *size, 3), cases.IMAGE_SEED))
        for name, logits in (
            ("single", whole(model, image)),
            ("multi_scale", multi_scale(model, image)),
            ("window", sliding(model, image)),
        ):
            values = logits[0].permute(1, 2, 0).numpy()
            key = f"{cases.size_name(size)}/{name}"
            arrays[key] = cases.sample(values).astype(np.float32)
    save("evaluation", arrays)


if __name__ == "__main__":
    main()
