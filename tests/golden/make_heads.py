"""Writes heads.npz: the heads of FCN, DeepLabV3, DeepLabV3+ and PSANet.

    python tests/golden/make_heads.py

Needs torch. Computed in float64 and stored as float32, as in make.py. The features of
stages 1 and 4 are `values("low", LOW_SHAPE)` and `values("features", SHAPE)`, the
weights `values` of their names in the peer, all with WEIGHT_SEED; the cotangent is
`values("cotangent", …, COTANGENT_SEED)` of the shape of the logits. {head} is a key of
heads_cases.HEADS; `sampled` as in cases.py.

  {head}/shapes: text, `name size,size,…` of each array of the state dict
  {head}/logits [B, h, w, CLASSES]: in eval mode
  {head}/low, {head}/features: of that, the gradients of sum(logits · cotangent), by the
    features, channels last, sampled; `low` of DeepLabV3+ alone
  {head}/{weight}: and by the weights of heads_cases.GRADIENTS, sampled
  {head}/train/…: the same in training, with the statistics of the batch, all sampled,
    for features of TRAIN_SEED
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.golden import cases, heads_cases, peer_heads, seeded
from tests.golden.foreign_cases import join_shapes
from tests.golden.make import (
    Arrays,
    array,
    channels_first,
    channels_last,
    discrepancy,
    save,
)
from tests.golden.make_foreign import load, state_shapes


def make_head(name: str) -> torch.nn.Module:
    options = heads_cases.HEADS[name]
    inputs, classes = heads_cases.SHAPE[-1], heads_cases.CLASSES
    channels, rates = heads_cases.CHANNELS, heads_cases.RATES
    if name == "deeplabv3":
        return peer_heads.DeepLabV3Head(inputs, channels, rates, classes, **options)
    if name.startswith("deeplabv3plus"):
        low = heads_cases.LOW_SHAPE[-1], heads_cases.LOW_LEVEL_CHANNELS
        return peer_heads.DeepLabV3PlusHead(
            low[0], inputs, channels, low[1], rates, classes, **options
        )
    hidden = heads_cases.HIDDEN_CHANNELS
    if name == "fcn":
        return peer_heads.FCNHead(inputs, hidden, classes)
    return peer_heads.PSAHead(inputs, channels, hidden, num_classes=classes, **options)


def head_goldens(name: str, dtype: torch.dtype) -> Arrays:
    head = make_head(name)
    out = {f"{name}/shapes": join_shapes(state_shapes(head))}
    load(head, dtype)
    evaluated = pass_goldens(name, head, dtype, cases.WEIGHT_SEED)
    out |= {f"{name}/{key}": x for key, x in evaluated.items()}
    trained = pass_goldens(name, head.train(), dtype, heads_cases.TRAIN_SEED)
    trained["logits"] = cases.sample(trained["logits"])
    return out | {f"{name}/train/{key}": x for key, x in trained.items()}


def pass_goldens(
    name: str, head: torch.nn.Module, dtype: torch.dtype, seed: int
) -> Arrays:
    """Logits of a head, and gradients with a random cotangent."""
    head.zero_grad()
    low, features = (
        channels_first(seeded.values(key, shape, seed=seed), dtype)
        .contiguous()
        .requires_grad_()
        for key, shape in (
            ("low", heads_cases.LOW_SHAPE),
            ("features", heads_cases.SHAPE),
        )
    )
    logits = head(low, features)
    out = {"logits": channels_last(logits)}
    cotangent = seeded.values(
        "cotangent", out["logits"].shape, seed=cases.COTANGENT_SEED
    )
    (logits * channels_first(cotangent, dtype)).sum().backward()
    for key, x in (("low", low), ("features", features)):
        if x.grad is not None:
            out[key] = cases.sample(channels_last(x.grad))
    weights = dict(head.named_parameters())
    for key in heads_cases.GRADIENTS[name]:
        out[key] = cases.sample(array(weights[key].grad))
    return out


def goldens(dtype: torch.dtype) -> Arrays:
    out: Arrays = {}
    for name in heads_cases.HEADS:
        out |= head_goldens(name, dtype)
    return out


def main() -> None:
    torch.use_deterministic_algorithms(True)
    double = goldens(torch.float64)
    numbers = {k: x for k, x in double.items() if not k.endswith("/shapes")}
    largest, key = discrepancy(goldens(torch.float32), numbers)
    print(f"float32 against float64 in torch: {largest:.1e} at {key}")
    for key, x in numbers.items():
        print(f"{key} {x.shape}: rms {(x**2).mean() ** 0.5:.3f}")
    save("heads", double)


if __name__ == "__main__":
    main()
