"""The health of the bases, by hand."""

import math

import numpy as np
import pytest

from ema_jax import EMAU, MODELS
from ema_jax.networks import find_em_unit
from tests.micro import NANO
from train.evaluation.health import health, initial_bases

UNIT = find_em_unit(NANO(3))
BEFORE = np.array([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0], [0.0, 1.0]])


def test_shares_of_the_largest():
    after = BEFORE + np.array([[3.0, 4.0], [0.0, 0.0], [0.0, 0.0], [0.0, -2.0]])
    seen = {"entropy": math.log(4) / 2, "dead_bases": 1.0}
    found = health(UNIT, seen, BEFORE, after)
    assert found == pytest.approx({"entropy": 0.5, "dead": 0.25, "drift": 0.75})


def test_what_is_not_seen_is_left_out():
    assert health(UNIT, {}, None, None) == {}
    assert health(UNIT, {}, BEFORE, BEFORE) == {"drift": 0.0}


def test_a_network_without_bases():
    unit = find_em_unit(MODELS["fcn_tiny"](num_classes=3))
    assert initial_bases(unit, {}) is None
    assert health(unit, {}, None, None) == {}


@pytest.mark.parametrize("kind", ["params", "batch_stats"])
def test_the_initial_bases_are_a_copy(kind):
    model = NANO(3)
    if kind == "params":
        unit = EMAU(bases_update="gradient", gradient="unroll")
        model = model.clone(head=model.head.clone(context=unit))
    stored = BEFORE.copy()
    variables = {kind: {"head": {"context": {"bases": stored}}}}
    found = initial_bases(find_em_unit(model), variables)
    stored[:] = 0
    np.testing.assert_array_equal(found, BEFORE)
