"""Programs for any batch, written down and read again, are the programs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from ema_jax import EMAU, MODELS
from tests.golden.rebuild import relative_error
from tests.micro import MICRO, ThreeConvolutions, lively

UNITS = {
    "default": {},
    "heads": {
        "num_heads": 2,
        "skip_non_finite": True,
        "gradient": "unroll",
        "eval_window": (3, 3),
    },
    "mixture": {
        "kernel": "gaussian",
        "normalization": "none",
        "covariance": "diagonal",
        "mixing": "learned",
    },
}
STAGES = ThreeConvolutions(0.9, every_stage=True)
NETWORKS = {
    "emanet": MICRO(num_classes=3),
    "hamburger": MODELS["hamburger_tiny"](num_classes=3).clone(backbone=STAGES),
    "psanet": MODELS["psanet_tiny"](num_classes=3).clone(backbone=STAGES),
}
"""Those whose heads look at the batch; the others have nothing that these lack."""


def assert_any_batch(function, variables, shape):
    """Exported once for all platforms, it agrees on a batch."""
    [batch] = export.symbolic_shape("batch")
    x = jax.ShapeDtypeStruct((batch, *shape), jnp.float32)
    like = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), variables)
    platforms = ["cpu", "cuda", "tpu"]
    written = export.export(jax.jit(function), platforms=platforms)(like, x).serialize()
    program = export.deserialize(written)
    x = np.random.default_rng(0).standard_normal((3, *shape), np.float32)
    expected = jax.jit(function)(variables, x)
    assert relative_error(program.call(variables, x), expected) < 1e-5


@pytest.mark.parametrize("options", UNITS.values(), ids=UNITS)
def test_the_unit(options):
    unit, absent = EMAU(num_bases=4, **options), jnp.arange(5) < 2

    def run(variables, x):
        mask = jnp.broadcast_to(~absent[:, None], x.shape[:-1])
        return unit.apply(variables, x, mask, train=False)

    variables = unit.init(jax.random.key(0), jnp.zeros((1, 5, 6, 8)), train=False)
    assert_any_batch(run, variables, (5, 6, 8))


@pytest.mark.parametrize("model", NETWORKS.values(), ids=NETWORKS)
def test_whole_networks(model):
    assert_any_batch(
        lambda variables, x: model.apply(variables, x, train=False),
        lively(model),
        (17, 25, 3),
    )
