"""How the bases of EM attention fare in a training."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ema_jax import EMAU


def initial_bases(unit: EMAU | None, variables: Mapping[str, Any]) -> np.ndarray | None:
    """A copy of μ⁰ (K, C), or None of a network without EM attention."""
    if unit is None:
        return None
    kind = "params" if unit.bases_update == "gradient" else "batch_stats"
    return np.array(variables[kind]["head"]["context"]["bases"])


def health(
    unit: EMAU | None,
    seen: Mapping[str, float],
    before: np.ndarray | None,
    after: np.ndarray | None,
) -> dict[str, float]:
    """Figures of the bases, as far as there is something to say.

    Args:
        unit: EM attention of the network, if it has any.
        seen: means over images of the `entropy` of the responsibilities, in nats, and
            the number of `dead_bases`, if they were watched.
        before, after: μ⁰ around an update.

    Returns:
        `entropy`, as a share of the largest, log K: near 1 no basis stands for
        anything, and near 0 each pixel has its own; `dead`, the share of the bases
        that are the most responsible one of no pixel; `drift`, by which share of its
        length a basis of μ⁰ moved in the update, the mean over the bases.
    """
    if unit is None:
        return {}
    found = {}
    if "entropy" in seen and unit.num_bases > 1:
        found["entropy"] = seen["entropy"] / math.log(unit.num_bases)
    if "dead_bases" in seen:
        found["dead"] = seen["dead_bases"] / (unit.num_bases * unit.num_heads)
    if before is not None and after is not None:
        lengths = np.linalg.norm(before, axis=-1)
        moved = np.linalg.norm(after - before, axis=-1)
        found["drift"] = float(np.mean(moved / np.maximum(lengths, 1e-12)))
    return found
