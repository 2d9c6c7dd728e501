"""Our batch normalisation against Flax's own, and where it must differ."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from ema_jax.batch_norm import BatchNorm
from tests.golden.rebuild import relative_error
from tests.quick import compiled, run


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    values = 3 + 2 * np.random.default_rng(seed).standard_normal(shape)
    return values.astype(np.float32)


def variables(channels: int) -> dict:
    """Of neither's init: every one of the four has its part in the result."""
    scale, bias, mean, var = (1 + draw(4, channels) ** 2) / 3
    return {
        "params": {"scale": scale, "bias": bias},
        "batch_stats": {"mean": mean, "var": var},
    }


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_equals_flax(masked, train, dtype):
    x = draw(3, 5, 4, 6).astype(jnp.dtype(dtype))
    mask = np.random.default_rng(1).random((3, 5, 4, 1)) < 0.6 if masked else None
    cotangent = draw(3, 5, 4, 6, seed=2) * (1 if mask is None else mask)
    flax = nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5, dtype=x.dtype)
    ours = BatchNorm(train, 0.9, dtype=x.dtype)

    def objective(norm, params, x):
        y, updates = norm.apply(
            variables(6) | {"params": params}, x, mask=mask, mutable=["batch_stats"]
        )
        return jnp.sum(y * cotangent), (y, updates)

    def both(*given):
        objectives = [partial(objective, norm) for norm in (ours, flax)]
        return [jax.grad(f, (0, 1), has_aux=True)(*given) for f in objectives]

    results = jax.device_get(run(both, variables(6)["params"], x))
    tolerance = 1e-5 if dtype == "float32" else 1e-2
    for actual, expected in zip(*map(jax.tree.leaves, results), strict=True):
        assert actual.dtype == expected.dtype
        actual, expected = (a.astype(np.float32) for a in (actual, expected))
        assert relative_error(actual, expected) < tolerance


def test_a_batch_without_tokens_leaves_the_running_statistics():
    x, start = draw(2, 5, 6), variables(6)
    norm = BatchNorm(train=True, decay=0.9)
    nothing = np.zeros((2, 5, 1), bool)
    y, updates = norm.apply(start, x, nothing, mutable=["batch_stats"])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
        updates["batch_stats"],
        start["batch_stats"],
    )
    running = BatchNorm(train=False).apply(start, x)
    np.testing.assert_allclose(y, running, rtol=1e-5)


def test_devices_with_unlike_numbers_of_tokens():
    """The mean of their means, as in Flax's, would be another number; or NaN."""
    x, start = draw(4, 6, 3), variables(3)
    mask = (np.arange(6) < np.array([6, 1, 0, 3])[:, None])[..., None]
    whole, expected = BatchNorm(train=True).apply(
        start, x, mask, mutable=["batch_stats"]
    )

    def step(x, mask):
        norm = BatchNorm(train=True, axis_name="data")
        return norm.apply(start, x, mask, mutable=["batch_stats"])

    sharded = jax.shard_map(
        step,
        mesh=Mesh(np.array(jax.devices()[:4]), ("data",)),
        in_specs=P("data"),
        out_specs=(P("data"), P()),
    )
    program = compiled(sharded, x, mask)
    y, updates = program(x, mask)
    np.testing.assert_allclose(y, whole, rtol=1e-4, atol=1e-4)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), updates, expected
    )
    assert program.as_text().count(" all-reduce(") == 1  # all the sums in one exchange
