"""FCN, DeepLabV3, DeepLabV3+ and PSANet against their PyTorch peers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ema_jax.weights.table import to_torch
from tests.golden import cases, heads_cases, seeded
from tests.golden.rebuild import golden, relative_error
from tests.golden.rebuild_heads import features, make_head, stages, table, variables
from tests.quick import run


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", heads_cases.HEADS)
def test_logits_and_gradients_equal_pytorch(name, train):
    head, weights = make_head(name), variables(name)
    prefix = f"{name}/train/" if train else f"{name}/"
    expected = golden("heads")
    shape = expected[f"{name}/logits"].shape
    cotangent = seeded.values("cotangent", shape, seed=cases.COTANGENT_SEED)

    def leaf(params, key):
        found = {"params": params}
        for part in table(name)[key].path:
            found = found[part]
        return found

    def backward(params, low, last):
        """Of the parameters those that PyTorch's values are of."""

        def total(params, low, last):
            held = {**weights, "params": params}
            options = {"train": train, "mutable": ["batch_stats"]}
            logits, _ = head.apply(held, stages(low, last), **options)
            return jnp.vdot(logits, cotangent), logits

        gradients, logits = jax.grad(total, (0, 1, 2), has_aux=True)(params, low, last)
        by_params, *by_features = gradients
        kept = {key: leaf(by_params, key) for key in heads_cases.GRADIENTS[name]}
        return kept, by_features, logits

    seed = heads_cases.TRAIN_SEED if train else cases.WEIGHT_SEED
    seen = [features(key, seed) for key in ("low", "features")]
    by_params, by_features, logits = jax.device_get(
        run(backward, weights["params"], *seen)
    )
    actual = cases.sample(logits) if train else logits
    assert relative_error(actual, expected[prefix + "logits"]) < 1e-4
    for key, gradient in zip(("low", "features"), by_features, strict=True):
        if prefix + key in expected:
            actual = cases.sample(gradient)
            assert relative_error(actual, expected[prefix + key]) < 1e-4, key
        else:
            assert key == "low"
            assert not np.any(gradient)
    for key, gradient in by_params.items():
        actual = cases.sample(to_torch(gradient, table(name)[key].layout))
        assert relative_error(actual, expected[prefix + key]) < 1e-4, key
