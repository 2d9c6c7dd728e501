"""Our side of heads.npz: the heads, their variables and the features they see."""

from collections.abc import Callable

import flax.linen as nn
import numpy as np
from flax.traverse_util import unflatten_dict

from ema_jax.backbones import Features
from ema_jax.heads import DeepLabV3Head, DeepLabV3PlusHead, FCNHead, PSAHead
from ema_jax.weights.table import KeyTable, conv_bn_keys, conv_keys, to_jax
from tests.golden import cases, heads_cases, seeded
from tests.golden.foreign_cases import split_shapes
from tests.golden.rebuild import golden


def make_head(name: str) -> nn.Module:
    """The head of a golden case, without dropout."""
    options = {
        "num_classes": heads_cases.CLASSES,
        "dropout_rate": 0.0,
        **heads_cases.HEADS[name],
    }
    if name == "fcn":
        return FCNHead(hidden_channels=heads_cases.HIDDEN_CHANNELS, stage=2, **options)
    options["channels"] = heads_cases.CHANNELS
    if name.startswith("psa"):
        return PSAHead(hidden_channels=heads_cases.HIDDEN_CHANNELS, **options)
    kind: Callable[..., nn.Module] = DeepLabV3Head
    if name.startswith("deeplabv3plus"):
        kind = DeepLabV3PlusHead
        options["low_level_channels"] = heads_cases.LOW_LEVEL_CHANNELS
    return kind(rates=heads_cases.RATES, **options)


def variables(name: str) -> dict:
    """Its weights."""
    shapes = split_shapes(golden("heads")[f"{name}/shapes"])
    state = seeded.state_dict(shapes, seed=cases.WEIGHT_SEED)
    targets = table(name)
    assert targets.keys() == state.keys()
    leaves = {t.path: to_jax(state[key], t.layout) for key, t in targets.items()}
    return unflatten_dict(leaves)


def table(name: str) -> KeyTable:
    """Where each array of the peer's state dict goes."""
    keys: KeyTable = {}
    for key in split_shapes(golden("heads")[f"{name}/shapes"]):
        *path, leaf = key.split(".")
        if path[-1] == "conv":
            part = ".".join(path[:-1])
            keys |= conv_bn_keys(f"{part}.conv", f"{part}.bn", tuple(path[:-1]))
        elif path[-1] != "bn" and leaf == "weight":
            bias = path == ["classifier"]
            keys |= conv_keys(".".join(path), tuple(path), bias=bias)
    return keys


def features(name: str, seed: int = cases.WEIGHT_SEED) -> np.ndarray:
    """The features of stage 1, "low", or of stage 4, "features"."""
    shape = heads_cases.LOW_SHAPE if name == "low" else heads_cases.SHAPE
    return seeded.values(name, shape, seed=seed)


def stages(low: np.ndarray, last: np.ndarray, mask: np.ndarray | None = None):
    """What a backbone returns, of which the heads read the first and the last."""
    low_mask = None
    if mask is not None:  # pixels 2i and 2i-1 of stage 1 exist where i of stage 4 does
        rows, columns = ((np.arange(side) + 1) // 2 for side in low.shape[1:3])
        low_mask = mask[:, rows][:, :, columns]
    return Features(low, low_mask), Features(last, mask)
