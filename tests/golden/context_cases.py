"""What context.npz was computed from; no torch and no jax here, as in cases.py."""

import dataclasses
import math
from typing import Any

import numpy as np

from tests.golden import cases, seeded

BATCH, SIZE, CHANNELS = 2, (5, 7), 16
RAGGED_SIZES = ((5, 7), (4, 3))
"""Images of one training batch that have not one size; ours pads and masks them."""

BN_MOMENTUM = 0.25  # weight of the new batch; large, so that one step shows
SLOTS = 6  # rows of a memory, attention maps, bases
ATTENTION = 2, 13, 8  # batch, tokens, channels of the attention alone
ATTENTION_LENGTHS = (13, 9)  # tokens that exist in each image
ATTENTION_SCALES = (1.0, 0.25)


@dataclasses.dataclass(frozen=True)
class Case:
    """One module: its kind, the options of ours, and the shapes of its weights.

    The shapes have the names of PyTorch's side.
    """

    kind: str
    options: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]


def layer(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs, 1, 1), f"{name}.bias": (outputs,)}


def last(name: str, inputs: int) -> dict[str, tuple[int, ...]]:
    """The convolution without bias and the BatchNorm before the residual."""
    statistics = ("weight", "bias", "running_mean", "running_var")
    return {
        f"{name}.conv.weight": (CHANNELS, inputs, 1, 1),
        **{f"{name}.bn.{leaf}": (CHANNELS,) for leaf in statistics},
    }


def layers(**outputs: int) -> dict[str, tuple[int, ...]]:
    return {
        key: shape
        for name, features in outputs.items()
        for key, shape in layer(name, CHANNELS, features).items()
    }


NON_LOCAL = layers(query=8, key=8, value=8) | last("out", 8)
HAMBURGER = layers(lower=12) | last("upper", 12) | {"bases": (1, 12, SLOTS)}
CASES = {
    "non_local": Case("non_local", {}, NON_LOCAL),
    "non_local_dot": Case(
        "non_local", {"mode": "dot_product", "scale": 0.25}, NON_LOCAL
    ),
    "double_attention": Case(
        "double_attention",
        {"channels": 10, "num_maps": SLOTS},
        layers(features=10, maps=SLOTS, vectors=SLOTS) | last("out", 10),
    ),
    "external_attention": Case(
        "external_attention",
        {"num_slots": SLOTS},
        layers(conv=CHANNELS)
        | {"memory_keys": (SLOTS, CHANNELS), "memory_values": (SLOTS, CHANNELS)}
        | last("out", CHANNELS),
    ),
    "criss_cross": Case(
        "criss_cross",
        {"channels": 4},
        layers(query=4, key=4, value=CHANNELS) | {"gamma": ()},
    ),
    "hamburger": Case(
        "hamburger",
        {"channels": 12, "num_bases": SLOTS, "bases_update": "none"},
        HAMBURGER,
    ),
    "hamburger_average": Case(
        "hamburger",
        {
            "channels": 12,
            "num_bases": SLOTS,
            "num_iters": 2,
            "eval_iters": 3,
            "temperature": 2.0,
            "bases_update": "moving_average",
            "bases_decay": 0.75,
        },
        HAMBURGER,
    ),
}


def weights(case: Case) -> dict[str, np.ndarray]:
    """The seeded weights by name; bases of a factorisation are non-negative."""
    found = {
        name: np.asarray(
            seeded.values(f"{case.kind}.{name}", shape, seed=cases.WEIGHT_SEED)
        )
        for name, shape in case.shapes.items()
    }
    if "bases" in found:
        found["bases"] = np.abs(found["bases"])
    return found


def features(name: str, size: tuple[int, ...], batch: int = 1) -> np.ndarray:
    """(batch, *size, CHANNELS); the name tells inputs from cotangents, and images."""
    return seeded.values(name, (batch, *size, CHANNELS), seed=cases.IMAGE_SEED)


def ragged(name: str) -> list[np.ndarray]:
    """One array (1, H, W, CHANNELS) for each of RAGGED_SIZES."""
    return [features(f"{name}{i}", size) for i, size in enumerate(RAGGED_SIZES)]


def attention_inputs() -> dict[str, np.ndarray]:
    """Query, key, value and cotangent (B, N, D) of the attention alone."""
    names = ("query", "key", "value", "cotangent")
    return {
        name: seeded.values(f"attention.{name}", ATTENTION, seed=cases.IMAGE_SEED)
        for name in names
    }


def num_tokens() -> int:
    """Of a ragged batch."""
    return sum(math.prod(size) for size in RAGGED_SIZES)
