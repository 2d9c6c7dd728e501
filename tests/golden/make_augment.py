"""Writes augment.npz: scaling, padding, cropping and mirroring by PyTorch.

    python tests/golden/make_augment.py

Needs torch. For each {draw} of `augment_cases.DRAWS`, computed in float64:

  {draw}/image: pixels [N, 3], float32, normalised and then padded with zeros
  {draw}/label: labels [N] of the same pixels, uint8, padded with 255
  {draw}/label_crc32: of all the labels [H, W]

In float32 PyTorch rounds the ratio of the sizes, and "nearest" then takes one or two
rows one too early, for 36 of 7168 pairs of a side up to 1024 and a scale.
"""

import sys
import zlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.golden import augment_cases, cases, seeded
from tests.golden.augment_cases import Draw, sample
from tests.golden.make import Arrays, channels_first, channels_last, save, tensor


def cut(x: torch.Tensor, draw: Draw, padding: float) -> torch.Tensor:
    """Pad [B, C, H, W] at the bottom and right, crop, mirror."""
    below, beside = (
        max(0, crop - side) for crop, side in zip(draw.crop, x.shape[2:], strict=True)
    )
    x = F.pad(x, (0, beside, 0, below), value=padding)
    top, left = draw.corner
    x = x[:, :, top : top + draw.crop[0], left : left + draw.crop[1]]
    return x.flip(3) if draw.flip else x


def augment(draw: Draw) -> Arrays:
    pixels, classes = augment_cases.picture(draw.size)
    image = channels_first(pixels[None]) / 255
    image = F.interpolate(image, draw.scaled, mode="bilinear", align_corners=True)
    mean, std = (
        torch.tensor(x, dtype=torch.float64).view(1, 3, 1, 1)
        for x in (seeded.IMAGENET_MEAN, seeded.IMAGENET_STD)
    )
    image = cut((image - mean) / std, draw, 0)
    label = F.interpolate(tensor(classes)[None, None], draw.scaled, mode="nearest")
    label = cut(label, draw, cases.IGNORE_LABEL)[0, 0].to(torch.uint8).numpy()
    return {
        f"{draw.name}/image": sample(channels_last(image)[0]),
        f"{draw.name}/label": sample(label),
        f"{draw.name}/label_crc32": np.array(zlib.crc32(label.tobytes())),
    }


def main() -> None:
    arrays: Arrays = {}
    for draw in augment_cases.DRAWS:
        arrays |= augment(draw)
        padded = np.mean(arrays[f"{draw.name}/image"] == 0)
        print(f"{draw.name} to {draw.scaled}: {padded:.2f} padded, from {draw.corner}")
    save("augment", arrays)


if __name__ == "__main__":
    main()
