"""Images of rare classes, drawn more often than others."""

import numpy as np
from numpy.typing import NDArray

from train.data.access import RandomAccess, Selection


def repeat_factors(holds: NDArray[np.bool_], share: float) -> NDArray[np.float64]:
    """`max(1, √(share / f_c))` of an image's rarest class, in f_c of the images.

    Args:
      holds: (n, C), whether image i holds class c.
      share: a class that fewer images hold is rare.

    Returns:
      (n,), at least 1.

    Example:
        >>> holds = np.array([[1, 0]] * 15 + [[1, 1]], bool)
        >>> repeat_factors(holds, share=0.25)[-2:]
        array([1., 2.])

    Reference: Gupta et al., LVIS, CVPR 2019, which takes 0.001.
    """
    frequency = np.maximum(holds.mean(0), 1 / len(holds))
    factors = np.sqrt(np.maximum(1.0, share / frequency))
    return np.where(holds, factors, 1.0).max(1)


def repeat_rare(
    source: RandomAccess, holds: NDArray[np.bool_], share: float | None, seed: int
) -> RandomAccess:
    """The source with each image as often as its factor says, None: once.

    The part of a factor behind the point is the chance of one more time, once for all.
    """
    if share is None:
        return source
    factors = repeat_factors(holds, share)
    chance = np.random.default_rng(seed).random(len(factors))
    times = np.floor(factors + chance).astype(np.int64)
    return Selection(source, np.repeat(np.arange(len(factors)), times).tolist())
