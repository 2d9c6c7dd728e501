"""All context modules: against PyTorch's golden values, and the call they share."""

import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from ema_jax.context import CONTEXTS
from tests.golden import context_cases, rebuild_context
from tests.golden.context_cases import CASES
from tests.golden.rebuild import relative_error
from tests.quick import run
from tests.versions import skip_mixed_products

SHARING = ["non_local", "double_attention", "external_attention", "hamburger_average"]
"""Those with statistics that the images of a batch share."""

KINDS = [name for name in CASES if name in CONTEXTS]
"""One case of each module."""


def close(actual, expected, scale: float = 0.0) -> None:
    """To 1e-4 of the largest value; of `scale` where zero is expected."""
    limit = 1e-4 * max(float(np.abs(expected).max()), scale)
    assert actual.shape == expected.shape
    assert np.abs(np.asarray(actual) - expected).max() <= limit


def train_and_evaluate(module, variables, x, cotangent, mask=None):
    """Outputs of evaluation and training, gradients and new statistics."""

    def objective(params, x):
        y, updates = module.apply(
            variables | {"params": params},
            x,
            train=True,
            mask=mask,
            mutable=["batch_stats"],
        )
        return jnp.sum(jnp.where(cotangent == 0, 0, y * cotangent)), (y, updates)

    def everything(params, x):
        evaluated = module.apply(variables, x, train=False, mask=mask)
        gradients, (y, updates) = jax.grad(objective, (0, 1), has_aux=True)(params, x)
        return evaluated, y, updates, *gradients

    return jax.device_get(run(everything, variables["params"], x))


@pytest.mark.parametrize("name", CASES)
def test_equals_pytorch(name):
    expected = rebuild_context.expected(name)
    variables = rebuild_context.variables(CASES[name])
    shape = context_cases.SIZE, context_cases.BATCH
    x = context_cases.features("context.input", *shape)
    cotangent = context_cases.features("context.cotangent", *shape)
    module = rebuild_context.module(name)
    evaluated, y, updates, gradients, dx = train_and_evaluate(
        module, variables, x, cotangent
    )
    close(evaluated, expected["eval/output"])
    close(y, expected["train/output"])
    close(dx, expected["train/grad_input"])
    compared = 0
    largest = max(float(np.abs(g).max()) for g in jax.tree.leaves(gradients))
    for key, value in expected.items():
        kind, _, weight = key.removeprefix("train/").partition("/")
        if kind == "grad":
            ours = rebuild_context.leaf({"params": gradients}, weight, value.shape)
            # A bias before a BN or a softmax has no gradient but rounding.
            close(ours, rebuild_context.lay_out(value), scale=1e-2 * largest)
        elif kind == "state":
            ours = rebuild_context.leaf(updates, weight, value.shape)
            close(ours, rebuild_context.lay_out(value))
        compared += kind in ("grad", "state")
    assert compared == len(CASES[name].shapes)


@pytest.mark.parametrize("name", CASES)
def test_a_masked_batch_equals_its_images_alone(name):
    """Absent pixels are NaN and the third image has no other."""
    expected = rebuild_context.expected(name)
    variables = rebuild_context.variables(CASES[name])
    x, mask = rebuild_context.pad(context_cases.ragged("context.ragged"), np.nan)
    cotangent, _ = rebuild_context.pad(context_cases.ragged("context.cotangent"), 0)
    module = rebuild_context.module(name)
    evaluated, y, updates, gradients, dx = train_and_evaluate(
        module, variables, x, cotangent, mask
    )
    for i, size in enumerate(context_cases.RAGGED_SIZES):
        shape = (1, *size, context_cases.CHANNELS)
        close(y[i][mask[i]].reshape(shape), expected[f"ragged/output{i}"])
        close(dx[i][mask[i]].reshape(shape), expected[f"ragged/grad_input{i}"])
    for key, value in expected.items():
        if key.startswith("ragged/state/"):
            weight = key.removeprefix("ragged/state/")
            ours = rebuild_context.leaf(updates, weight, value.shape)
            close(ours, rebuild_context.lay_out(value))
    assert not np.any(np.asarray(dx)[~mask])
    assert np.isfinite(evaluated[mask]).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize("name", [name for name in KINDS if name != "criss_cross"])
def test_tokens_in_any_order_and_rank(name):
    module = rebuild_context.module(name)
    variables = rebuild_context.variables(CASES[name])
    shape = context_cases.SIZE, context_cases.BATCH
    x = context_cases.features("context.input", *shape)
    order = np.random.default_rng(0).permutation(x[0, :, :, 0].size)
    tokens = x.reshape(len(x), -1, x.shape[-1])[:, order]
    y = rebuild_context.expected(name)["eval/output"].reshape(tokens.shape)
    close(run(partial(module.apply, train=False), variables, tokens), y[:, order])


@pytest.mark.parametrize("name", SHARING)
def test_two_devices_equal_one(name):
    """Each holds one image; `axis_name` makes their statistics those of the batch."""
    expected = rebuild_context.expected(name)
    variables = rebuild_context.variables(CASES[name])
    module = rebuild_context.module(name, axis_name="batch")
    shape = context_cases.SIZE, context_cases.BATCH
    x = context_cases.features("context.input", *shape)
    mesh = Mesh(np.array(jax.devices()[:2]), ("batch",))

    @partial(
        jax.shard_map,
        mesh=mesh,
        in_specs=(P(), P("batch")),
        out_specs=(P("batch"), P()),
    )
    def step(variables, x):
        return module.apply(variables, x, train=True, mutable=["batch_stats"])

    y, updates = jax.device_get(run(step, variables, x))
    close(y, expected["train/output"])
    for key, value in expected.items():
        if key.startswith("train/state/"):
            weight = key.removeprefix("train/state/")
            ours = rebuild_context.leaf(updates, weight, value.shape)
            close(ours, rebuild_context.lay_out(value))


@pytest.mark.parametrize("name", KINDS)
def test_bfloat16_keeps_float32_variables(name):
    if name == "external_attention":
        skip_mixed_products()
    variables = rebuild_context.variables(CASES[name])
    module = rebuild_context.module(name, dtype=jnp.bfloat16)
    shape = context_cases.SIZE, context_cases.BATCH
    x = context_cases.features("context.input", *shape).astype(jnp.bfloat16)
    y = np.asarray(run(partial(module.apply, train=False), variables, x))
    assert y.dtype == jnp.bfloat16
    full = rebuild_context.expected(name)["eval/output"]
    assert relative_error(y.astype(np.float32), full) < 5e-2

    made = jax.eval_shape(
        lambda key: module.init(key, x, train=True), jax.random.key(0)
    )
    assert jax.tree.map(jnp.shape, made) == jax.tree.map(jnp.shape, variables)
    assert {leaf.dtype for leaf in jax.tree.leaves(made)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", CONTEXTS)
def test_can_all_be_built_and_called_alike(name):
    module = CONTEXTS[name](bn_decay=0.9, dtype=jnp.bfloat16)
    parameters = inspect.signature(type(module).__call__).parameters
    assert list(parameters) == ["self", "x", "train", "mask"]
    for words, shape, mask in (
        (r"x has shape \(3, 16\)", (3, 16), None),
        (r"mask has shape \(1, 2, 2\).*\(1, 2, 3\)", (1, 2, 3, 16), (1, 2, 2)),
    ):
        mask = None if mask is None else np.ones(mask, bool)
        with pytest.raises(ValueError, match=words):
            module.init(jax.random.key(0), np.ones(shape), train=False, mask=mask)


@pytest.mark.parametrize(
    ("name", "option", "value", "words"),
    [
        ("non_local", "channels", 0, "channels=0; give an integer"),
        ("non_local", "query_chunk", 0, "query_chunk=0"),
        ("non_local", "mode", "gaussian", "mode='gaussian'.*dot_product"),
        ("non_local", "implementation", "triton", "implementation='triton'.*cudnn"),
        ("double_attention", "channels", 0, "channels=0"),
        ("double_attention", "num_maps", -1, "num_maps=-1"),
        ("external_attention", "num_slots", 0, "num_slots=0"),
        ("criss_cross", "channels", 0, "channels=0"),
        ("criss_cross", "recurrence", 0, "recurrence=0"),
        ("hamburger", "channels", 0, "channels=0"),
        ("hamburger", "num_bases", 0, "num_bases=0"),
        ("hamburger", "num_iters", 0, "num_iters=0"),
        ("hamburger", "eval_iters", 0, "eval_iters=0"),
        ("hamburger", "bases_update", "gradient", "bases_update='gradient'.*random"),
    ],
)
def test_errors_name_the_value(name, option, value, words):
    module = CONTEXTS[name](**{option: value})
    with pytest.raises(ValueError, match=words):
        module.init(jax.random.key(0), np.ones((1, 3, 3, 16)), train=False)
