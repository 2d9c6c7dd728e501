"""DeepLabV3, DeepLabV3+ and PSANet against their PyTorch peers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ema_jax.weights.table import to_torch
from tests.golden import cases, heads_cases, seeded
from tests.golden.rebuild import golden, relative_error
from tests.golden.rebuild_heads import features, make_head, stages, table, variables
from tests.quick import run


@pytest.mark.parametrize("name", heads_cases.HEADS)
def test_logits_and_gradients_equal_pytorch(name):
    head, weights = make_head(name), variables(name)
    expected = golden("heads")
    shape = expected[f"{name}/logits"].shape
    cotangent = seeded.values("cotangent", shape, seed=cases.COTANGENT_SEED)

    def backward(params, low, last):
        def total(params, low, last):
            held = {**weights, "params": params}
            logits = head.apply(held, stages(low, last), train=False)
            return jnp.vdot(logits, cotangent), logits

        return jax.grad(total, (0, 1, 2), has_aux=True)(params, low, last)

    (by_params, *by_features), logits = run(
        backward, weights["params"], features("low"), features("features")
    )
    assert relative_error(logits, expected[f"{name}/logits"]) < 1e-4
    for key, gradient in zip(("low", "features"), by_features, strict=True):
        if f"{name}/{key}" in expected:
            actual = cases.sample(gradient)
            assert relative_error(actual, expected[f"{name}/{key}"]) < 1e-4, key
        else:
            assert key == "low"
            assert not np.any(gradient)
    for key in heads_cases.GRADIENTS[name]:
        target = table(name)[key]
        leaf = {"params": by_params}
        for part in target.path:
            leaf = leaf[part]
        actual = cases.sample(to_torch(np.asarray(leaf), target.layout))
        assert relative_error(actual, expected[f"{name}/{key}"]) < 1e-4, key


@pytest.mark.parametrize("name", ["deeplabv3", "deeplabv3plus", "psa9"])
def test_training_uses_the_statistics_of_the_batch_as_pytorch(name):
    head, weights = make_head(name), variables(name)

    def forward(low, last):
        given = stages(low, last)
        return head.apply(weights, given, train=True, mutable=["batch_stats"])

    logits, _ = run(forward, features("low"), features("features"))
    assert relative_error(cases.sample(logits), golden("heads")[f"{name}/train"]) < 1e-4
