"""Regenerate the golden files next to this script: `python tests/golden/make.py`.

Needs torch (CPU) and NumPy. Everything is computed in float64 from float32 weights and
inputs and stored as float32. `cases.py` says what was run, `seeded.py` gives weights
and inputs. Activations are channels last; `sampled` means `cases.sample` of the array.
Every file has `metadata`, an array of strings. Names in braces are filled in with
{case}: Attention.name; {size}: 97x161; {stem}, {stride}, {depth}: as in cases.py.

em.npz, EM attention alone:
  {case}/features [B, N, C], {case}/bases [B, K, C], {case}/responsibilities [B, N, K]
emau.npz, the EMA unit, gradient mode `stop`, for the two UNIT_SIZES:
  {size}/eval/output [B, H, W, C]
  {size}/train/output [B, H, W, C]
  {size}/train/mu [1, C, K]: the stored bases after the forward pass
  {size}/train/running_mean, running_var [C]: after it. The new variance that enters is
    unbiased, over n − 1 of n = B·H·W values. This is PyTorch's; Flax's is biased
  {size}/train/running_var_biased [C]: what Flax would keep
  {size}/train/batch_mean, batch_var_biased [C]: of the input of BatchNorm
  {size}/train/grad_input [B, H, W, C], grad_conv2 [C, C, 1, 1]: of
    sum(output · cotangent)
resnet.npz, the backbone in eval mode:
  {stem}/os{stride}/{size}/stage{1..4}: sampled [1, h, w, c]
  {stem}/os{stride}/{size}/stage{1..4}_shape: (1, h, w, c)
emanet.npz, whole networks in eval mode:
  emanet{depth}/os{stride}/{size}/logits [1, h, w, 21]
  emanet{depth}/os{stride}/{size}/upsampled [1, ⌈H/7⌉, ⌈W/7⌉, 21]: every 7th pixel of
    the upsampled logits; depth 50 only
"""

import dataclasses
import math
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.golden import cases, peer, seeded

FOLDER = Path(__file__).parent
Arrays = dict[str, np.ndarray]


def tensor(x: np.ndarray, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.from_numpy(x).to(dtype)


def channels_first(x: np.ndarray, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return tensor(x, dtype).permute(0, 3, 1, 2)


def array(x: torch.Tensor) -> np.ndarray:
    return x.detach().double().numpy().copy()


def channels_last(x: torch.Tensor) -> np.ndarray:
    return array(x.permute(0, 2, 3, 1))


def load(
    module: torch.nn.Module,
    shapes: dict[str, tuple[int, ...]],
    dtype: torch.dtype,
    prefix: str = "",
    gain: float = 1.0,
    em_gain: float | None = None,
) -> torch.nn.Module:
    """Give the module its seeded weights; its names and shapes must be the listed."""
    listed = {name.removeprefix(prefix): shape for name, shape in shapes.items()}
    found = {
        name: tuple(x.shape)
        for name, x in module.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    if found != listed:
        raise ValueError(f"names or shapes differ: {found.items() ^ listed.items()}")
    gains = {"gain": gain, "em_gain": em_gain}
    weights = seeded.state_dict(shapes, seed=cases.WEIGHT_SEED, **gains)
    module.load_state_dict(
        {name.removeprefix(prefix): tensor(x) for name, x in weights.items()},
        strict=False,
    )
    return module.to(dtype)


def make_network(
    network: cases.Network,
    dtype: torch.dtype,
    gain: float = 1.0,
    em_gain: float | None = None,
) -> peer.EMANet:
    model = peer.EMANet(**dataclasses.asdict(network))
    shapes = cases.network_shapes(network)
    return load(model, shapes, dtype, gain=gain, em_gain=em_gain)


def describe(z: torch.Tensor) -> str:
    """Of responsibilities [B, N, K]: entropy over log K, mean of the largest."""
    if z.shape[-1] == 1:
        return "one base"
    entropy = torch.special.entr(z).sum(-1) / math.log(z.shape[-1])
    low, mean, high = entropy.min(), entropy.mean(), entropy.max()
    top = z.amax(-1).mean()
    return f"entropy {low:.3f} {mean:.3f} {high:.3f}, largest {top:.3f}"


def em_goldens(dtype: torch.dtype) -> Arrays:
    out = {}
    for case in cases.ATTENTION:
        batch, channels, bases = case.batch, case.channels, case.num_bases
        x = seeded.values("em.x", (batch, case.tokens, channels)) * case.scale
        mu = seeded.values("em.mu", (1, channels, bases))
        features, mu, z = peer.em_attention(
            tensor(x, dtype), tensor(mu, dtype).transpose(1, 2), case.num_iters
        )
        out[f"{case.name}/features"] = array(features)
        out[f"{case.name}/bases"] = array(mu)
        out[f"{case.name}/responsibilities"] = array(z)
        if dtype == torch.float64:
            print(f"  {case.name}: {describe(z)}")
    return out


def make_unit(dtype: torch.dtype) -> peer.EMAU:
    sizes = cases.UNIT_CHANNELS, cases.UNIT_NUM_BASES
    unit = peer.EMAU(*sizes, cases.UNIT_NUM_ITERS, cases.BASES_DECAY)
    return load(unit, cases.unit_shapes(*sizes), dtype, prefix="emau.")


def train_unit(x: np.ndarray, dtype: torch.dtype) -> Arrays:
    """One forward and backward pass of the unit in training."""
    unit = make_unit(dtype).train()
    bn = unit.conv2[1]
    old_var = bn.running_var.clone()
    seen = []
    bn.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    inputs = channels_first(x, dtype).requires_grad_()
    output = unit(inputs)
    cotangent = seeded.values("emau.cotangent", x.shape, seed=cases.COTANGENT_SEED)
    (output * channels_first(cotangent, dtype)).sum().backward()
    biased = seen[0].var((0, 2, 3), correction=0)
    kept = (1.0 - cases.BN_MOMENTUM) * old_var + cases.BN_MOMENTUM * biased
    return {
        "output": channels_last(output),
        "mu": array(unit.mu),
        "running_mean": array(bn.running_mean),
        "running_var": array(bn.running_var),
        "running_var_biased": array(kept),
        "batch_mean": array(seen[0].mean((0, 2, 3))),
        "batch_var_biased": array(biased),
        "grad_input": channels_last(inputs.grad),
        "grad_conv2": array(unit.conv2[0].weight.grad),
    }


def emau_goldens(dtype: torch.dtype) -> Arrays:
    out = {}
    for size in cases.UNIT_SIZES:
        shape = (cases.UNIT_BATCH, *size, cases.UNIT_CHANNELS)
        x = seeded.values("emau.input", shape, seed=cases.WEIGHT_SEED)
        name = cases.size_name(size)
        unit = make_unit(dtype).eval()
        with torch.no_grad():
            out[f"{name}/eval/output"] = channels_last(unit(channels_first(x, dtype)))
        for key, value in train_unit(x, dtype).items():
            out[f"{name}/train/{key}"] = value
        if dtype == torch.float64:
            print(f"  {name}: {describe(unit.responsibilities)}")
    return out


def make_backbone(stem: str, stride: int, dtype: torch.dtype) -> peer.Backbone:
    sizes, width = cases.RESNET_STAGE_SIZES, cases.RESNET_BASE_WIDTH
    network = cases.Network(stage_sizes=sizes, stem=stem, base_width=width)
    backbone = peer.Backbone(sizes, stem, stride, width, network.multi_grid)
    shapes = cases.backbone_shapes(network)
    return load(backbone, shapes, dtype, prefix="extractor.").eval()


@torch.no_grad()
def resnet_goldens(dtype: torch.dtype) -> Arrays:
    out = {}
    for stem in cases.STEM_CHANNELS:
        for stride in cases.OUTPUT_STRIDES:
            backbone = make_backbone(stem, stride, dtype)
            for size in cases.IMAGE_SIZES:
                x = seeded.image((1, *size, 3), cases.IMAGE_SEED)
                stages = backbone.stages(channels_first(x, dtype))
                for index, stage in enumerate(stages, start=1):
                    key = f"{stem}/os{stride}/{cases.size_name(size)}/stage{index}"
                    y = channels_last(stage)
                    out[key] = cases.sample(y)
                    out[f"{key}_shape"] = np.array(y.shape, np.int32)
    return out


@torch.no_grad()
def emanet_run(
    depth: int, stride: int, size: tuple[int, int], dtype: torch.dtype
) -> Arrays:
    network = cases.Network(stage_sizes=cases.STAGE_SIZES[depth], output_stride=stride)
    model = make_network(network, dtype).eval()
    x = channels_first(seeded.image((1, *size, 3), cases.IMAGE_SEED), dtype)
    logits = model.logits(x)
    key = f"emanet{depth}/os{stride}/{cases.size_name(size)}"
    if dtype == torch.float64:
        rms = logits.square().mean().sqrt()
        spatial = logits.var((2, 3)).mean().sqrt()
        z = describe(model.emau.responsibilities)
        print(f"  {key}: logits rms {rms:.3f}, over the pixels {spatial:.3f}; {z}")
    out = {f"{key}/logits": channels_last(logits)}
    if depth == 50:
        step = cases.UPSAMPLED_STEP
        upsampled = model.upsample(logits, size)[:, :, ::step, ::step]
        out[f"{key}/upsampled"] = channels_last(upsampled)
    return out


def emanet_goldens(dtype: torch.dtype) -> Arrays:
    out = {}
    for depth, runs in cases.EMANET_RUNS.items():
        for stride, size in runs:
            out |= emanet_run(depth, stride, size, dtype)
    return out


def discrepancy(single: Arrays, double: Arrays) -> tuple[float, str]:
    """The largest, over the arrays, of max |difference| / max |value|, and where."""

    def relative(key: str) -> float:
        scale = np.abs(double[key]).max()
        return float(np.abs(single[key] - double[key]).max() / scale)

    return max((relative(key), key) for key in double)


def save(name: str, arrays: Arrays) -> None:
    """Write name.npz, floats as float32."""
    stored = {
        key: x.astype(np.float32) if np.issubdtype(x.dtype, np.floating) else x
        for key, x in arrays.items()
    }
    facts = {"torch": torch.__version__, "numpy": np.__version__, "dtype": "float64"}
    metadata = np.array([f"{key}={value}" for key, value in facts.items()])
    np.savez_compressed(FOLDER / f"{name}.npz", metadata=metadata, **stored)


def main() -> None:
    torch.use_deterministic_algorithms(True)
    goldens = {
        "em": em_goldens,
        "emau": emau_goldens,
        "resnet": resnet_goldens,
        "emanet": emanet_goldens,
    }
    for name, compute in goldens.items():
        print(name)
        double = compute(torch.float64)
        largest, key = discrepancy(compute(torch.float32), double)
        print(f"  float32 against float64 in torch: {largest:.1e} at {key}")
        save(name, double)


if __name__ == "__main__":
    main()
