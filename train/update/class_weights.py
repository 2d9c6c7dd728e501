"""The weights of the classes in a loss, where they are unequal."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from train.user.errors import UserError

Weights = tuple[float, ...]
Formula = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]


def median_frequency(
    pixels: NDArray[np.int64], extent: NDArray[np.int64]
) -> NDArray[np.float64]:
    """`median(f) / f_c`, where f_c is the share of a class in the images that hold it.

    Args:
      pixels: (C,) of each class.
      extent: (C,) labelled pixels of the images that hold each class.

    Example:
        >>> median_frequency(np.array([80, 10, 20]), np.array([100, 50, 100]))
        array([0.25, 1.  , 1.  ])

    Reference: Eigen and Fergus, Predicting Depth, Surface Normals and Semantic Labels,
    ICCV 2015.
    """
    frequency = pixels / extent
    return np.median(frequency) / frequency


def inverse_log(
    pixels: NDArray[np.int64], extent: NDArray[np.int64]
) -> NDArray[np.float64]:
    """`1 / ln(1.02 + p_c)`, where p_c is the share of a class in all pixels.

    Reference: Paszke et al., ENet, 2016.
    """
    del extent
    return 1 / np.log(1.02 + pixels / pixels.sum())


FORMULAS: dict[str, Formula] = {
    "balanced": median_frequency,
    "balanced_log": inverse_log,
}
"""A value of `config.loss.class_weights` to what it stands for."""


def class_weights(
    given: str | Sequence[float] | None,
    pixels: NDArray[np.int64],
    extent: NDArray[np.int64],
) -> Weights | None:
    """The weight of each class; 1 for one that has no pixel.

    Args:
      given: `config.loss.class_weights`.
      pixels, extent: see `median_frequency`.

    Raises:
      UserError: not as many numbers as classes.
    """
    if given is None:
        return None
    if isinstance(given, str):
        weights, seen = np.ones(len(pixels)), pixels > 0
        weights[seen] = FORMULAS[given](pixels[seen], extent[seen])
        return tuple(weights.tolist())
    if len(given) != len(pixels):
        raise UserError(
            f"config.loss.class_weights has {len(given)} numbers, but there are "
            f"{len(pixels)} classes; give one for each"
        )
    return tuple(map(float, given))
