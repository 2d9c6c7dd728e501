"""The EMA unit against PyTorch's golden values, and as a part of other models."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ema_jax import EMAU
from ema_jax.weights.emanet import CONTEXT, emanet_table
from ema_jax.weights.table import to_jax
from tests.golden import cases, seeded
from tests.golden.rebuild import golden, relative_error


@pytest.fixture(scope="module")
def variables():
    """The golden unit's weights, through the key table of the released files."""
    shapes = cases.unit_shapes(cases.UNIT_CHANNELS, cases.UNIT_NUM_BASES)
    tree: dict = {"params": {}, "batch_stats": {}}
    for name, target in emanet_table(shapes).items():
        collection, *path = target.path
        if tuple(path[: len(CONTEXT)]) == CONTEXT:
            value = seeded.values(name, shapes[name], seed=cases.WEIGHT_SEED)
            node = tree[collection]
            for key in path[len(CONTEXT) : -1]:
                node = node.setdefault(key, {})
            node[path[-1]] = to_jax(value, target.layout)
    return tree


unit = EMAU(num_bases=cases.UNIT_NUM_BASES, num_iters=cases.UNIT_NUM_ITERS)


def features(size):
    return seeded.values(
        "emau.input", (cases.UNIT_BATCH, *size, cases.UNIT_CHANNELS), seed=0
    )


@pytest.mark.parametrize("size", cases.UNIT_SIZES, ids=cases.size_name)
def test_equals_pytorch(variables, size):
    expected = {
        key.removeprefix(f"{cases.size_name(size)}/"): value
        for key, value in golden("emau").items()
    }
    x = features(size)
    cotangent = seeded.values("emau.cotangent", x.shape, seed=cases.COTANGENT_SEED)

    def objective(params, x):
        y, updates = unit.apply(
            variables | {"params": params}, x, train=True, mutable=["batch_stats"]
        )
        return jnp.sum(y * cotangent), (y, updates["batch_stats"])

    output = unit.apply(variables, x, train=False)
    (gradients, dx), (y, stats) = jax.grad(objective, (0, 1), has_aux=True)(
        variables["params"], x
    )
    assert relative_error(output, expected["eval/output"]) < 1e-5
    assert relative_error(y, expected["train/output"]) < 1e-4
    assert relative_error(stats["bases"], expected["train/mu"][0].T) < 1e-5
    assert relative_error(stats["bn"]["mean"], expected["train/running_mean"]) < 1e-5
    variance = expected["train/running_var_biased"]
    assert relative_error(stats["bn"]["var"], variance) < 1e-5
    assert relative_error(dx, expected["train/grad_input"]) < 1e-4
    kernel = expected["train/grad_conv2"][:, :, 0, 0].T
    assert relative_error(gradients["conv2"]["kernel"], kernel) < 1e-4
    # Nothing flows through EM: its first convolution learns nothing.
    assert not np.any(gradients["conv1"]["kernel"])
    assert not np.any(gradients["conv1"]["bias"])


def test_only_the_residual_carries_gradient_by_default(variables):
    """Without the residual path nothing reaches the input."""
    x = features(cases.UNIT_SIZES[1])

    def attended(x):
        y, _ = unit.apply(
            variables,
            x,
            train=False,
            mutable=["intermediates"],
            capture_intermediates=lambda module, _: module.name == "conv2",
        )
        return _["intermediates"]["conv2"]["__call__"][0].sum() + 0 * y.sum()

    assert not np.any(jax.grad(attended)(x))


def test_bases_are_unit_vectors_of_the_right_shape():
    shapes = unit.init(jax.random.key(0), jnp.zeros((1, 4, 4, 6)), train=True)
    bases = shapes["batch_stats"]["bases"]
    assert bases.shape == (cases.UNIT_NUM_BASES, 6)
    np.testing.assert_allclose(jnp.linalg.norm(bases, axis=-1), 1, atol=1e-5)


def test_initialisation_does_not_update_the_bases():
    x = features(cases.UNIT_SIZES[1])
    key = jax.random.key(0)
    training = unit.init(key, x, train=True)["batch_stats"]["bases"]
    evaluating = unit.init(key, x, train=False)["batch_stats"]["bases"]
    np.testing.assert_array_equal(training, evaluating)


@pytest.mark.parametrize("axes", [(), (2,), (2, 3), (2, 3, 4)])
def test_any_rank_is_a_batch_of_tokens(variables, axes):
    tokens = random_tokens(3, int(np.prod(axes, dtype=int)))
    x = tokens.reshape(3, *axes, cases.UNIT_CHANNELS) if axes else tokens
    y = unit.apply(variables, x, train=False)
    flat = unit.apply(variables, tokens, train=False)
    assert y.shape == x.shape
    np.testing.assert_allclose(y.reshape(flat.shape), flat, atol=1e-5)


def random_tokens(*shape: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.standard_normal((*shape, cases.UNIT_CHANNELS)).astype(np.float32)


def test_masked_batch_equals_the_images_alone(variables):
    x, lengths = random_tokens(3, 12), (12, 7, 0)
    mask = np.arange(12) < np.array(lengths)[:, None]
    together, updates = unit.apply(
        variables, x, train=True, mask=mask, mutable=["batch_stats"]
    )
    alone = unit.apply(variables, x, train=False, mask=mask)
    for row, length in enumerate(lengths[:2]):
        expected = unit.apply(variables, x[row : row + 1, :length], train=False)
        np.testing.assert_allclose(alone[row, :length], expected[0], atol=1e-5)
    # The third image has no token: it must leave no trace in the statistics.
    without, expected = unit.apply(
        variables, x[:2], train=True, mask=mask[:2], mutable=["batch_stats"]
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), updates, expected
    )
    np.testing.assert_allclose(together[:2], without, atol=1e-4)
    assert np.isfinite(together).all()


def test_no_token_anywhere_leaves_the_bases(variables):
    x = random_tokens(2, 5)
    _, updates = unit.apply(
        variables,
        x,
        train=True,
        mask=np.zeros((2, 5), bool),
        mutable=["batch_stats"],
    )
    np.testing.assert_array_equal(
        updates["batch_stats"]["bases"], variables["batch_stats"]["bases"]
    )


def test_bfloat16_keeps_float32_statistics(variables):
    x = jnp.asarray(features(cases.UNIT_SIZES[0]), jnp.bfloat16)
    half = unit.clone(dtype=jnp.bfloat16)
    y, updates = half.apply(variables, x, train=True, mutable=["batch_stats"])
    full = unit.apply(variables, x.astype(jnp.float32), train=False)
    assert y.dtype == jnp.bfloat16
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(updates))
    evaluated = half.apply(variables, x, train=False)
    assert relative_error(evaluated.astype(np.float32), full) < 3e-2


def test_bases_update_options():
    x = features(cases.UNIT_SIZES[1])
    fixed = unit.clone(bases_update="none")
    start = fixed.init(jax.random.key(0), x, train=False)
    _, updates = fixed.apply(start, x, train=True, mutable=["batch_stats"])
    np.testing.assert_array_equal(
        updates["batch_stats"]["bases"], start["batch_stats"]["bases"]
    )
    trained = unit.clone(bases_update="gradient", gradient="unroll")
    start = trained.init(jax.random.key(0), x, train=False)
    assert "bases" in start["params"]
    assert "bases" not in start["batch_stats"]
    weights = random_tokens(*x.shape[:-1])
    gradient = jax.grad(
        lambda params: jnp.sum(
            weights * trained.apply(start | {"params": params}, x, train=False)
        )
    )(start["params"])
    assert np.abs(gradient["bases"]).max() > 1e-6


def test_drops_into_a_module():
    class Tokens(nn.Module):
        @nn.compact
        def __call__(self, x, *, train):
            return nn.Dense(3)(EMAU(num_bases=4)(nn.Dense(8)(x), train=train))

    logits, variables = Tokens().init_with_output(
        jax.random.key(0), jnp.ones((2, 11, 5)), train=False
    )
    assert logits.shape == (2, 11, 3)
    assert variables["batch_stats"]["EMAU_0"]["bases"].shape == (4, 8)


@pytest.mark.parametrize(
    ("options", "shape", "mask", "words"),
    [
        ({"num_bases": 0}, (1, 3, 4), None, "num_bases=0"),
        ({}, (3, 4), None, r"x has shape \(3, 4\)"),
        ({}, (1, 3, 4), (1, 3, 4), "mask has shape"),
        ({"bases_update": "ema"}, (1, 3, 4), None, "moving_average"),
        ({"gradient": "full"}, (1, 3, 4), None, "gradient='full'"),
    ],
)
def test_errors_name_the_value(options, shape, mask, words):
    mask = None if mask is None else jnp.ones(mask, bool)
    with pytest.raises(ValueError, match=words):
        EMAU(**options).init(jax.random.key(0), jnp.ones(shape), train=False, mask=mask)
