"""Writes foreign.npz: networks whose files carry other names than the release's.

    python tests/golden/make_foreign.py

Needs torch, torchvision and timm. Computed in float64 and stored as float32, as in
make.py. The ImageNet ResNets are those of torchvision and timm themselves, and so are
the names of their weights. Names in braces are filled in as in foreign_cases.py.

  {model}/shapes: text, `name size,size,…` of each array of a state dict
  mmseg{depth}/os{stride}/{size}/logits, auxiliary [1, h, w, 19]: in eval mode
  mmseg{depth}/os{stride}/{size}/upsampled, upsampled_auxiliary [1, ⌈H/7⌉, ⌈W/7⌉, 19]:
    every 7th pixel; depth 50 only
  train/logits [2, h, w, 19]: of a small network in training, without dropout
  train/bases [1, C, K]: after it
  {resnet}/os{stride}/{size}/stage{1..4}: sampled [1, h, w, c]
"""

import importlib
import sys
import types
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.golden import cases, peer_mmseg, seeded
from tests.golden.foreign_cases import (
    MMSEG_CLASSES,
    MMSEG_RUNS,
    MMSEG_TRAIN,
    RESNET_RUNS,
    RESNETS,
    TRAIN_SIZE,
    join_shapes,
    run_name,
)
from tests.golden.make import (
    Arrays,
    array,
    channels_first,
    channels_last,
    discrepancy,
    save,
    tensor,
)


def package(name: str) -> types.ModuleType:
    """timm, or torchvision without its operators.

    Those are compiled for one build of PyTorch each, and a ResNet needs none of them.
    """
    absent = types.ModuleType("absent")
    sys.modules.setdefault("torchvision._meta_registrations", absent)
    return importlib.import_module(name)


def load(module: torch.nn.Module, dtype: torch.dtype) -> torch.nn.Module:
    """Seeded weights under the module's own names."""
    shapes = state_shapes(module)
    state = seeded.state_dict(shapes, seed=cases.WEIGHT_SEED)
    module.load_state_dict({k: tensor(x) for k, x in state.items()}, strict=False)
    return module.to(dtype).eval()


def state_shapes(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {
        name: tuple(x.shape)
        for name, x in module.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def image(size: tuple[int, int], dtype: torch.dtype) -> torch.Tensor:
    return channels_first(seeded.image((1, *size, 3), cases.IMAGE_SEED), dtype)


@torch.no_grad()
def mmseg_goldens(dtype: torch.dtype) -> Arrays:
    out = {}
    step = cases.UPSAMPLED_STEP
    for depth, runs in MMSEG_RUNS.items():
        for stride, size in runs:
            model = peer_mmseg.EMANet(cases.STAGE_SIZES[depth], stride)
            out[f"mmseg{depth}/shapes"] = join_shapes(state_shapes(model))
            both = load(model, dtype).logits(image(size, dtype))
            key = run_name(f"mmseg{depth}", stride, size)
            for name, logits in zip(("logits", "auxiliary"), both, strict=True):
                out[f"{key}/{name}"] = channels_last(logits)
            if depth == 50:
                names = "upsampled", "upsampled_auxiliary"
                for name, logits in zip(names, both, strict=True):
                    large = model.upsample(logits, size)[:, :, ::step, ::step]
                    out[f"{key}/{name}"] = channels_last(large)
    return out


@torch.no_grad()
def train_goldens(dtype: torch.dtype) -> Arrays:
    """The moving average of the bases, and BatchNorm's statistics of the batch."""
    model = peer_mmseg.EMANet(num_classes=MMSEG_CLASSES, **MMSEG_TRAIN)
    shapes = join_shapes(state_shapes(model))
    load(model, dtype).train()
    x = channels_first(seeded.image(TRAIN_SIZE, cases.IMAGE_SEED), dtype)
    logits, _ = model.logits(x)
    return {
        "train/shapes": shapes,
        "train/logits": channels_last(logits),
        "train/bases": array(model.decode_head.ema_module.bases),
    }


def make_resnet(name: str, stride: int) -> torch.nn.Module:
    """A ResNet of torchvision's or timm's with dilated last stages."""
    source, name = name.split("_")
    if source == "timm":
        create = package("timm").create_model
        return create(f"{name}.gluon_in1k", output_stride=stride)
    make = getattr(package("torchvision").models, name)
    return make(replace_stride_with_dilation=[False, stride == 8, True])


def resnet_stages(model: torch.nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    for layer in (model.layer1, model.layer2, model.layer3, model.layer4):
        layer.register_forward_hook(lambda _module, _inputs, y: found.append(y))
    model(x)
    return found


@torch.no_grad()
def resnet_goldens(dtype: torch.dtype) -> Arrays:
    out = {}
    for name, depth in RESNETS.items():
        for stride, size in RESNET_RUNS[depth]:
            model = make_resnet(name, stride)
            out[f"{name}/shapes"] = join_shapes(state_shapes(model))
            stages = resnet_stages(load(model, dtype), image(size, dtype))
            for number, stage in enumerate(stages, start=1):
                key = f"{run_name(name, stride, size)}/stage{number}"
                out[key] = cases.sample(channels_last(stage))
    return out


def goldens(dtype: torch.dtype) -> Arrays:
    return mmseg_goldens(dtype) | train_goldens(dtype) | resnet_goldens(dtype)


def main() -> None:
    torch.use_deterministic_algorithms(True)
    double = goldens(torch.float64)
    numbers = {k: x for k, x in double.items() if not k.endswith("/shapes")}
    largest, key = discrepancy(goldens(torch.float32), numbers)
    print(f"float32 against float64 in torch: {largest:.1e} at {key}")
    for name in ("torchvision", "timm"):
        print(name, package(name).__version__)
    for key, x in numbers.items():
        print(f"{key} {x.shape}: rms {np.sqrt(np.mean(x**2)):.3f}")
    save("foreign", double)


if __name__ == "__main__":
    main()
