"""Writes train.npz and train50.npz: twelve steps of SGD, of each of `cases.TRAININGS`.

    python tests/golden/make_train.py

Needs torch. Computed in float64 and stored as float32, as in make.py. Names in braces:
{normalization}: all_pixels or valid_pixels; {weight}: one of `Training.weights`.

  {normalization}/loss [12]: of each step, before its update
  {normalization}/learning_rate [12]
  {normalization}/{weight}: after the last step, sampled

Running variances are PyTorch's, unbiased (n = 4·9·7 at fc0). With r the initial one and
k = 0.9997¹², Flax's is k·r + (stored − k·r)·(n − 1)/n.
ReLU and max-pooling make twelve steps amplify rounding: what is printed says how far
float32 ends from float64.
"""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.golden import cases, peer, seeded
from tests.golden.make import (
    Arrays,
    array,
    channels_first,
    describe,
    discrepancy,
    make_network,
    save,
)


def train_batch(
    step: int, num_classes: int, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    shape = (cases.TRAIN_BATCH, *cases.TRAIN_SIZE)
    seed = cases.TRAIN_SEED + step
    images = seeded.image((*shape, 3), seed)
    labels = seeded.labels(shape, num_classes, seed)
    return channels_first(images, dtype), torch.from_numpy(labels).long()


def train_run(
    training: cases.Training, normalization: str, dtype: torch.dtype
) -> Arrays:
    gains = training.gain, training.em_gain
    model = make_network(training.network, dtype, *gains).train()
    optimizer = peer.make_optimizer(model, cases.SGD_MOMENTUM, cases.WEIGHT_DECAY)
    rates, losses, responsibilities = [], [], []
    for step in range(1, cases.TRAIN_STEPS + 1):
        lr = peer.learning_rate(
            step,
            cases.TRAIN_TOTAL_STEPS,
            cases.BASE_LEARNING_RATE,
            cases.POWER,
            cases.HOLD_STEPS,
        )
        batch = train_batch(step, training.network.num_classes, dtype)
        options = {"lr": lr, "normalization": normalization}
        losses.append(peer.train_step(model, optimizer, *batch, **options))
        rates.append(lr)
        responsibilities.append(describe(model.emau.responsibilities))
    if dtype == torch.float64:
        print(f"  {normalization}: loss {np.round(losses, 3)}")
        print(f"  first step: {responsibilities[0]}; last: {responsibilities[-1]}")
    state = model.state_dict()
    out = {"loss": np.array(losses), "learning_rate": np.array(rates)}
    for name in training.weights:
        out[name] = cases.sample(array(state[name]), training.limit)
    return {f"{normalization}/{key}": value for key, value in out.items()}


def goldens(training: cases.Training, dtype: torch.dtype) -> Arrays:
    out = {}
    for normalization in training.normalizations:
        out |= train_run(training, normalization, dtype)
    return out


def main() -> None:
    torch.use_deterministic_algorithms(True)
    for name, training in cases.TRAININGS.items():
        print(name)
        double, single = (goldens(training, x) for x in (torch.float64, torch.float32))
        losses = {key: x for key, x in double.items() if key.endswith("/loss")}
        for what, of in (("losses", losses), ("all", double)):
            largest, key = discrepancy(single, of)
            print(f"  {what}: float32 from float64 in torch: {largest:.1e} at {key}")
        save(name, double)


if __name__ == "__main__":
    main()
