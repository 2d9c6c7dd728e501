"""Weights for images of three channels, for images of another number."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

FIRST = ("stem", "stem_conv1")
"""The layer of a backbone that sees the image."""

COLOURS = 3


def adapt_channels(variables: Mapping[str, Any], in_channels: int) -> dict[str, Any]:
    """Variables whose first layer takes so many channels, if theirs takes three.

    One channel gets the sum of their kernels, so that grey is seen as it was as three
    equal colours; n get them in turn, times 3/n.

    Args:
        variables: {"params": …, "batch_stats": …}, of a backbone or a network.
        in_channels: n, of the images.

    Example:
        >>> kernel = np.array([1.0, 2.0, 4.0]).reshape(1, 1, 3, 1)
        >>> tree = {"params": {"backbone": {"stem": {"conv": {"kernel": kernel}}}}}
        >>> for n in (1, 2):
        ...     adapted = adapt_channels(tree, n)
        ...     adapted["params"]["backbone"]["stem"]["conv"]["kernel"].ravel()
        array([7.])
        array([1.5, 3. ])
    """
    leaves = flatten_dict(variables)
    for layer in FIRST:
        path = ("params", "backbone", layer, "conv", "kernel")
        if path in leaves and leaves[path].shape[2] == COLOURS != in_channels:
            leaves[path] = _adapted(np.asarray(leaves[path]), in_channels)
    return unflatten_dict(leaves)


def _adapted(kernel: np.ndarray, in_channels: int) -> np.ndarray:
    if in_channels == 1:
        return kernel.sum(2, keepdims=True)
    turns = np.arange(in_channels) % COLOURS
    return kernel[:, :, turns] * np.float32(COLOURS / in_channels)
