"""Key tables: where each array of a foreign state dict goes, and how it is laid out."""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import numpy as np

Layout = Literal["same", "conv", "dense", "bases"]

TRANSPOSES: dict[str, tuple[int, ...]] = {
    "conv": (2, 3, 1, 0),  # OIHW to HWIO
    "bases": (0, 2, 1),  # [1, C, K] to [1, K, C]
}
FORMS: dict[str, tuple[int | str, ...]] = {
    "same": ("C",),
    "conv": ("O", "I", "k", "k"),
    "dense": ("O", "I", 1, 1),
    "bases": (1, "C", "K"),
}
"""Shape of the foreign array of each layout; a letter is any size."""


class Target(NamedTuple):
    """Where one foreign array goes.

    Attributes:
        path: collection and keys, such as ("params", "head", "classifier", "bias").
        layout: "same"; "conv" from OIHW to HWIO; "dense" from (O, I, 1, 1) to (I, O);
            "bases" from (1, C, K) to (K, C).
    """

    path: tuple[str, ...]
    layout: Layout = "same"


KeyTable = dict[str, Target]


def conv_keys(name: str, path: tuple[str, ...], *, bias: bool = False) -> KeyTable:
    """Keys of a convolution."""
    table = {f"{name}.weight": Target(("params", *path, "kernel"), "conv")}
    if bias:
        table[f"{name}.bias"] = Target(("params", *path, "bias"))
    return table


def dense_keys(name: str, path: tuple[str, ...], *, bias: bool) -> KeyTable:
    """Keys of a 1×1 convolution that is a dense layer here."""
    table = {f"{name}.weight": Target(("params", *path, "kernel"), "dense")}
    if bias:
        table[f"{name}.bias"] = Target(("params", *path, "bias"))
    return table


def bn_keys(name: str, path: tuple[str, ...]) -> KeyTable:
    """Keys of a batch normalisation."""
    return {
        f"{name}.weight": Target(("params", *path, "scale")),
        f"{name}.bias": Target(("params", *path, "bias")),
        f"{name}.running_mean": Target(("batch_stats", *path, "mean")),
        f"{name}.running_var": Target(("batch_stats", *path, "var")),
    }


def conv_bn_keys(conv: str, bn: str, path: tuple[str, ...]) -> KeyTable:
    """Keys of a `ConvBN`."""
    return conv_keys(conv, (*path, "conv")) | bn_keys(bn, (*path, "bn"))


def to_jax(array: np.ndarray, layout: Layout) -> np.ndarray:
    """A foreign array in our layout."""
    if layout == "dense":
        return array.reshape(array.shape[:2]).T
    if layout == "bases":
        return array.transpose(TRANSPOSES["bases"])[0]
    return array.transpose(TRANSPOSES["conv"]) if layout == "conv" else array


def to_torch(array: np.ndarray, layout: Layout) -> np.ndarray:
    """The inverse of `to_jax`."""
    if layout == "dense":
        return array.T[:, :, None, None]
    if layout == "bases":
        return array[None].transpose(TRANSPOSES["bases"])
    return array.transpose(3, 2, 0, 1) if layout == "conv" else array


def has_form(shape: tuple[int, ...], layout: Layout) -> bool:
    """Whether a foreign array of this shape can have the layout."""
    form = FORMS[layout]
    return len(shape) == len(form) and all(
        actual > 0 if isinstance(size, str) else actual == size
        for size, actual in zip(form, shape, strict=True)
    )


def block_counts(names: Iterable[str], prefixes: Iterable[str]) -> Iterator[int]:
    """How many blocks `PREFIX.B.…` there are, for each prefix."""
    present = {tuple(name.split(".")) for name in names}
    for prefix in prefixes:
        parts = tuple(prefix.split("."))
        depth = len(parts)
        yield len({k[depth] for k in present if len(k) > depth and k[:depth] == parts})
