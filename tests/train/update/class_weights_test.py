"""Weights of classes, from pixel counts by hand."""

import numpy as np
import pytest

from train.update.class_weights import class_weights
from train.user.errors import UserError

PIXELS = np.array([60, 30, 10, 0])
EXTENT = np.array([100, 60, 40, 0])


def test_balanced_is_the_median_over_the_frequency():
    """Frequencies 0.6, 0.5, 0.25."""
    weights = class_weights("balanced", PIXELS, EXTENT)
    np.testing.assert_allclose(weights, [0.5 / 0.6, 1, 2, 1])


def test_balanced_log():
    weights = class_weights("balanced_log", PIXELS, EXTENT)
    shares = np.array([0.6, 0.3, 0.1])
    np.testing.assert_allclose(weights, [*1 / np.log(1.02 + shares), 1])


def test_given_numbers_are_one_for_each_class():
    assert class_weights((1, 2, 0, 1.5), PIXELS, EXTENT) == (1.0, 2.0, 0.0, 1.5)
    assert class_weights(None, PIXELS, EXTENT) is None
    with pytest.raises(UserError, match="has 2 numbers, but there are 4 classes"):
        class_weights((1, 2), PIXELS, EXTENT)
