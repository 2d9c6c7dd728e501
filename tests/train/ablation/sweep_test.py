"""A sweep over EM iterations: one program, the numbers of plain evaluations."""

from itertools import pairwise

import jax
import numpy as np
import pytest

from ema_jax import MODELS
from ema_jax.inference import Inference
from tests.micro import MICRO
from train.ablation.sweep import IterationSweep
from train.user.errors import UserError

ITERATIONS = (1, 3, 8)


def network(eval_iters=None):
    return MICRO(num_classes=5, num_iters=3, eval_iters=eval_iters, temperature=4.0)


@pytest.fixture(scope="module")
def variables():
    """Random, and large enough that the iterations matter; nothing is compiled."""
    images = jax.numpy.zeros((1, 33, 33, 3))
    shapes = jax.eval_shape(
        lambda: network().init(jax.random.key(0), images, train=False)
    )
    rng = np.random.default_rng(0)

    def fill(path, leaf):
        statistic = path[-1].key in ("var", "scale")
        drawn = rng.uniform(0.5, 1.5, leaf.shape)
        if not statistic:
            fan_in = np.prod(leaf.shape[:-1])
            drawn = rng.normal(0, fan_in**-0.5, leaf.shape)
        return drawn.astype(np.float32)

    return jax.tree_util.tree_map_with_path(fill, shapes)


def test_each_number_is_what_a_plain_evaluation_gets(variables):
    images = jax.random.normal(jax.random.key(1), (2, 33, 33, 3))
    sweep, traces = IterationSweep(network()), []

    @jax.jit
    def swept(variables):
        traces.append(None)
        return sweep.apply(variables, images, train=False)

    found = [swept(sweep.at(variables, t)) for t in ITERATIONS]
    assert len(traces) == 1
    for t, logits in ((1, found[0]), (8, found[2])):
        plain = jax.jit(
            lambda v, t=t: network(eval_iters=t).apply(v, images, train=False)
        )
        np.testing.assert_allclose(logits, plain(variables), atol=1e-5)
    for first, second in pairwise(found):
        assert abs(first - second).max() > 1e-3


def test_an_evaluation_compiles_once_for_all_numbers(variables):
    sweep, traces = IterationSweep(network()), []
    apply = sweep.apply

    def counting(*arguments, **options):
        traces.append(None)
        return apply(*arguments, **options)

    sweep.apply = counting
    step = Inference(sweep).labels
    images = np.random.default_rng(0).integers(0, 256, (2, 33, 33, 3), np.uint8)
    mask = np.ones((2, 33, 33), bool)
    for t in ITERATIONS:
        step(sweep.at(variables, t), images, mask)
    assert len(traces) == 1


def test_a_network_without_em_attention_is_refused():
    model = MODELS["deeplabv3_tiny"](num_classes=5)
    with pytest.raises(UserError, match="this one has none: leave it empty"):
        IterationSweep(model)
