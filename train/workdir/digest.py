"""A number for each array, that any damage to it changes."""

import zlib
from typing import Any

import jax
import numpy as np


def digest(tree: Any) -> list[int | None]:
    """CRC-32 of the bytes of each leaf; None for one that no process holds whole.

    Example:
        >>> import jax.numpy as jnp
        >>> digest({"a": jnp.zeros(3), "b": jnp.array(-0.0)})
        [2077607535, 3439090748]
    """
    return [_digest(leaf) for leaf in jax.tree.leaves(tree)]


def _digest(leaf: jax.Array) -> int | None:
    if not (leaf.is_fully_addressable or leaf.is_fully_replicated):
        return None
    return zlib.crc32(np.ascontiguousarray(leaf).tobytes())


def differs(tree: Any, digests: list[int | None]) -> bool:
    """Whether an array that has a digest is not the one that it was made of."""
    found = digest(tree)
    return len(found) != len(digests) or any(
        None not in pair and pair[0] != pair[1]
        for pair in zip(found, digests, strict=True)
    )
