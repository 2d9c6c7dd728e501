"""Our side of the golden files: the same networks and weights, as Flax variables."""

from functools import cache
from pathlib import Path

import numpy as np
from flax.traverse_util import unflatten_dict

from ema_jax import EMANet, Segmenter
from ema_jax.weights import convert_state_dict
from ema_jax.weights.emanet import CONTEXT, emanet_table
from ema_jax.weights.table import to_jax
from tests.golden import cases, seeded


@cache
def golden(name: str) -> dict[str, np.ndarray]:
    """The arrays of one file."""
    with np.load(Path(__file__).parent / f"{name}.npz") as file:
        return dict(file)


def emanet(network: cases.Network) -> Segmenter:
    """Our model of a network that the PyTorch side built."""
    return EMANet(
        num_classes=network.num_classes,
        stage_sizes=network.stage_sizes,
        stem=network.stem,
        output_stride=network.output_stride,
        width=network.base_width,
        multi_grid=network.multi_grid,
        channels=network.channels,
        num_bases=network.num_bases,
        num_iters=network.num_iters,
        dropout_rate=network.dropout,
    )


def variables(
    network: cases.Network, gain: float = 1.0, em_gain: float | None = None
) -> dict:
    """Its weights, through the key table of the released files."""
    return convert_state_dict(state_dict(network, gain, em_gain))


def state_dict(
    network: cases.Network, gain: float = 1.0, em_gain: float | None = None
) -> dict[str, np.ndarray]:
    """Its weights under the released names."""
    shapes, gains = cases.network_shapes(network), {"gain": gain, "em_gain": em_gain}
    return seeded.state_dict(shapes, seed=cases.WEIGHT_SEED, **gains)


def golden_unit() -> dict:
    """The weights of the unit alone."""
    shapes = cases.unit_shapes(cases.UNIT_CHANNELS, cases.UNIT_NUM_BASES)
    leaves = {}
    for name, target in emanet_table(shapes).items():
        collection, *path = target.path
        if tuple(path[: len(CONTEXT)]) == CONTEXT:
            value = seeded.values(name, shapes[name], seed=cases.WEIGHT_SEED)
            leaves[collection, *path[len(CONTEXT) :]] = to_jax(value, target.layout)
    return unflatten_dict(leaves)


def image(size: tuple[int, int]) -> np.ndarray:
    """The input (1, H, W, 3) of a golden network."""
    return seeded.image((1, *size, 3), cases.IMAGE_SEED)


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference over largest value."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    return float(np.abs(actual - expected).max() / np.abs(expected).max())
