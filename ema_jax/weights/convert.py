"""Foreign state dicts to Flax variables."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ema_jax.weights.emanet import emanet_table
from ema_jax.weights.resnet import resnet_table
from ema_jax.weights.table import KeyTable, to_jax, unflatten

FAMILIES: dict[str, tuple[str, Callable[[Iterable[str]], KeyTable]]] = {
    "the EMANet release": ("fc0.conv.weight", emanet_table),
    "an ImageNet ResNet": ("layer1.0.conv1.weight", resnet_table),
}
"""Name of each family: a key that only it has, and its table."""

COUNTER = "num_batches_tracked"  # of PyTorch's batch normalisation; nothing reads it
CLASSIFIER = "fc."  # of ImageNet files


def convert_state_dict(state_dict: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Variables of our models from a foreign state dict, whose keys tell its family.

    Args:
        state_dict: names to arrays: the EMANet release, or a ResNet of torchvision,
            of timm or with the deep ImageNet stem (its classifier is dropped).

    Returns:
        {"params": …, "batch_stats": …}, with the backbone alone for a ResNet.

    Raises:
        ValueError: an unknown family, or names that are missing or that nothing reads;
            the message lists them all.
    """
    names = {name for name in state_dict if not name.endswith(COUNTER)}
    families = [family for family in FAMILIES.values() if family[0] in names]
    if not families:
        raise ValueError(
            f"the state dict is of no known family ({', '.join(FAMILIES)}); "
            f"its first names are {sorted(names)[:5]}"
        )
    _, make_table = families[0]
    if make_table is resnet_table:
        names = {name for name in names if not name.startswith(CLASSIFIER)}
    table = make_table(names)
    missing, unread = sorted(table.keys() - names), sorted(names - table.keys())
    if missing or unread:
        raise ValueError(
            f"the state dict does not fit: missing {missing or 'nothing'}, "
            f"not understood {unread or 'nothing'}"
        )
    return unflatten(
        {
            target.path: to_jax(np.asarray(state_dict[name]), target.layout)
            for name, target in table.items()
        }
    )
