"""A network that is asked again and again about a few images."""

from collections.abc import Callable
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from ema_jax import Prediction, Predictor
from ema_jax.networks import find_em_unit
from train.demo.reading import Photo

MAX_ITERATIONS = 10
"""EM iterations that can be asked for, if the network's own are not more."""
KEPT = 32
"""Predictions, and a quarter as many responsibilities, that are not made twice."""


class Viewer:
    """What a network says of images, under any number of EM iterations.

    Attributes:
        predictor: of the network's own number of iterations.
        iterations: that number; 0 for a network without EM attention.
        max_iterations: the most there can be.
        num_bases: of its attention, over all heads.
    """

    def __init__(self, make: Callable[[int | None], Predictor]):
        """Nothing is compiled yet.

        Args:
            make: a predictor of a number of EM iterations; None: of the network's own.
        """
        self.predictor = make(None)
        unit = find_em_unit(self.predictor.model)
        if unit is None:
            self.iterations = self.max_iterations = self.num_bases = 0
        else:
            own = unit.num_iters if unit.eval_iters is None else unit.eval_iters
            self.iterations = int(own)
            self.max_iterations = max(self.iterations, MAX_ITERATIONS)
            self.num_bases = unit.num_bases * unit.num_heads
        self._make = cache(lambda iterations: make(iterations or None))
        self.predict = lru_cache(KEPT)(self._predict)
        self.responsibilities = lru_cache(KEPT // 4)(self._responsibilities)

    def _predict(self, photo: Photo, iterations: int) -> Prediction:
        """The prediction of a photo after so many EM iterations."""
        return self._make(iterations)(photo.pixels)

    def _responsibilities(self, photo: Photo, iterations: int) -> NDArray[np.float32]:
        """(T, h, w, K), a pixel for each stride of the photo."""
        return self._make(iterations).feature_responsibilities(photo.pixels)
