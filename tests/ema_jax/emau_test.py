"""The EMA unit against PyTorch's golden values, and as a part of other models."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ema_jax import EMAU, em_attention
from tests.golden import cases, seeded
from tests.golden.rebuild import golden, golden_unit, relative_error
from tests.quick import run


@pytest.fixture(scope="module")
def variables():
    return golden_unit()


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

    def everything(params, x):
        output = unit.apply(variables, x, train=False)
        return output, *jax.grad(objective, (0, 1), has_aux=True)(params, x)

    output, (gradients, dx), (y, stats) = jax.device_get(
        run(everything, variables["params"], x)
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

    assert not np.asarray(run(jax.grad(attended), x)).any()


def test_bases_are_unit_vectors_of_the_right_shape():
    made = unit.init(jax.random.key(0), np.zeros((1, 4, 4, 6)), train=True)
    bases = made["batch_stats"]["bases"]
    assert bases.shape == (cases.UNIT_NUM_BASES, 6)
    np.testing.assert_allclose(np.linalg.norm(bases, axis=-1), 1, atol=1e-5)


def test_initialisation_does_not_update_the_bases():
    x = features(cases.UNIT_SIZES[1])

    def bases(key):
        made = [unit.init(key, x, train=train) for train in (True, False)]
        return [variables["batch_stats"]["bases"] for variables in made]

    np.testing.assert_array_equal(*run(bases, jax.random.key(0)))


@pytest.mark.parametrize("axes", [(12,), (3, 4), (2, 3, 2)])
def test_any_rank_is_a_batch_of_tokens(variables, axes):
    tokens = random_tokens(2, 12)
    x = tokens.reshape(2, *axes, cases.UNIT_CHANNELS)
    y = np.asarray(unit.apply(variables, x, train=False))
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
    evaluated = np.asarray(unit.apply(variables, x, train=False, mask=mask))
    for row, length in enumerate(lengths[:2]):
        [alone] = np.asarray(
            unit.apply(variables, x[row : row + 1, :length], train=False)
        )
        np.testing.assert_allclose(evaluated[row, :length], alone, atol=1e-5)
    # The third image has no token: it must leave no trace in the statistics.
    without, expected = unit.apply(
        variables, x[:2], train=True, mask=mask[:2], mutable=["batch_stats"]
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), updates, expected
    )
    together = np.asarray(together)
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
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(updates))


def test_bfloat16_keeps_float32_statistics(variables):
    x = features(cases.UNIT_SIZES[0]).astype(jnp.bfloat16)
    half = unit.clone(dtype=jnp.bfloat16)
    y, updates = half.apply(variables, x, train=True, mutable=["batch_stats"])
    full = unit.apply(variables, x.astype(np.float32), train=False)
    assert y.dtype == jnp.bfloat16
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(updates))
    evaluated = np.asarray(half.apply(variables, x, train=False), np.float32)
    assert relative_error(evaluated, full) < 3e-2


def test_bases_update_options(variables):
    x = features(cases.UNIT_SIZES[1])
    fixed = unit.clone(bases_update="none")
    _, updates = fixed.apply(variables, x, train=True, mutable=["batch_stats"])
    np.testing.assert_array_equal(
        updates["batch_stats"]["bases"], variables["batch_stats"]["bases"]
    )
    trained = unit.clone(bases_update="gradient", gradient="unroll")
    made = jax.eval_shape(partial(trained.init, train=False), jax.random.key(0), x)
    assert "bases" in made["params"]
    assert "bases" not in made["batch_stats"]
    weights = random_tokens(*x.shape[:-1])
    statistics = {"batch_stats": {"bn": variables["batch_stats"]["bn"]}}

    def objective(bases):
        params = variables["params"] | {"bases": bases}
        y = trained.apply(statistics | {"params": params}, x, train=False)
        return jnp.sum(weights * y)

    gradient = run(jax.grad(objective), variables["batch_stats"]["bases"])
    assert np.abs(gradient).max() > 1e-6


def test_drops_into_a_module():
    class Tokens(nn.Module):
        @nn.compact
        def __call__(self, x, *, train):
            return nn.Dense(3)(EMAU(num_bases=4)(nn.Dense(8)(x), train=train))

    logits, variables = jax.eval_shape(
        partial(Tokens().init_with_output, train=False),
        jax.random.key(0),
        np.ones((2, 11, 5)),
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
        ({"num_heads": 3}, (1, 3, 4), None, "num_heads=3 does not divide the 4"),
        ({"bases_update": "gradient"}, (1, 3, 4), None, "needs gradient='unroll'"),
        ({"learn_temperature": True}, (1, 3, 4), None, "reach the temperature"),
    ],
)
def test_errors_name_the_value(options, shape, mask, words):
    mask = None if mask is None else np.ones(mask, bool)
    with pytest.raises(ValueError, match=words):
        EMAU(**options).init(jax.random.key(0), np.ones(shape), train=False, mask=mask)


def test_heads_are_separate_units_of_attention():
    """Two heads: each half of the channels has its own EM and its own bases."""
    x, options = random_tokens(3, 10), {"num_bases": 5, "num_iters": 2}
    two = EMAU(num_heads=2, bases_decay=0.0, **options)
    start = jax.device_get(two.init(jax.random.key(0), x, train=False))
    stored = start["batch_stats"]["bases"]
    half = cases.UNIT_CHANNELS // 2
    for part in (stored[:, :half], stored[:, half:]):
        np.testing.assert_allclose(np.linalg.norm(part, axis=-1), 1, atol=1e-5)
    (_, bases), state = jax.device_get(
        two.apply(
            start,
            x,
            train=True,
            return_bases=True,
            mutable=["batch_stats", "intermediates"],
        )
    )
    attention, conv1 = jax.jit(em_attention), start["params"]["conv1"]
    tokens = x @ conv1["kernel"] + conv1["bias"]
    for head, channels in enumerate((slice(half), slice(half, None))):
        expected = attention(tokens[..., channels], stored[:, channels], num_iters=2)
        np.testing.assert_allclose(bases[..., channels], expected.bases, atol=1e-5)
        seen = state["intermediates"]["responsibilities"][0][:, head]
        np.testing.assert_allclose(seen, expected.responsibilities, atol=1e-5)
    np.testing.assert_allclose(  # a decay of zero: the batch mean itself
        state["batch_stats"]["bases"], bases.mean(0), atol=1e-6
    )


def test_bases_are_carried_from_frame_to_frame(variables):
    """Two frames of one iteration each are one frame of two iterations."""
    x = random_tokens(2, 12)
    once, twice = unit.clone(num_iters=1), unit.clone(num_iters=2)
    _, bases = once.apply(variables, x, train=False, return_bases=True)
    assert bases.shape == (2, cases.UNIT_NUM_BASES, cases.UNIT_CHANNELS)
    carried = once.apply(variables, x, train=False, initial_bases=bases)
    expected = twice.apply(variables, x, train=False)
    np.testing.assert_allclose(carried, expected, atol=1e-5)
    _, updates = once.apply(
        variables, x, train=True, initial_bases=bases, mutable=["batch_stats"]
    )
    np.testing.assert_array_equal(  # only a call that starts from μ⁰ updates it
        updates["batch_stats"]["bases"], variables["batch_stats"]["bases"]
    )


def test_iterations_of_a_compiled_sweep(variables):
    """Built inside the compiled function, the unit takes a traced count."""
    x, num_traces = random_tokens(2, 12), 0

    @jax.jit
    def evaluate(num_iters):
        nonlocal num_traces
        num_traces += 1
        return unit.clone(eval_iters=num_iters).apply(variables, x, train=False)

    for num_iters in (1, 2, 6):
        expected = unit.clone(num_iters=num_iters).apply(variables, x, train=False)
        np.testing.assert_allclose(evaluate(num_iters), expected, atol=1e-5)
    assert num_traces == 1


def test_intermediates_are_there_when_asked_for(variables):
    x = random_tokens(2, 12)
    mask = np.arange(12) < np.array([12, 7])[:, None]
    y, state = jax.device_get(
        unit.apply(variables, x, train=False, mask=mask, mutable=["intermediates"])
    )
    seen = {name: value[0] for name, value in state["intermediates"].items()}
    assert {name: value.shape for name, value in seen.items()} == {
        "responsibilities": (2, 12, cases.UNIT_NUM_BASES),
        "bases": (2, cases.UNIT_NUM_BASES, cases.UNIT_CHANNELS),
        "entropy": (2,),
        "dead_bases": (2,),
        "bases_change": (cases.UNIT_NUM_ITERS, 2),
    }
    np.testing.assert_allclose(seen["responsibilities"].sum(-1), mask, atol=1e-6)

    @jax.jit
    def bases_after(num_iters):
        iterated = unit.clone(eval_iters=num_iters)
        options = {"train": False, "mask": mask, "return_bases": True}
        return iterated.apply(variables, x, **options)[1]

    # The changes are those of the bases after each iteration.
    previous = variables["batch_stats"]["bases"]
    for step in range(cases.UNIT_NUM_ITERS):
        bases = np.asarray(bases_after(step + 1))
        change = np.linalg.norm(bases - previous, axis=(-2, -1))
        np.testing.assert_allclose(seen["bases_change"][step], change, rtol=1e-4)
        previous = bases
    without = unit.apply(variables, x, train=False, mask=mask)
    np.testing.assert_array_equal(without, y)


@pytest.mark.parametrize("integer", [np.int64, jnp.int32])
def test_iterations_may_be_any_integer_that_is_known(variables, integer):
    x = random_tokens(1, 5)
    counted = unit.clone(num_iters=integer(2))
    _, state = jax.eval_shape(
        partial(counted.apply, train=False, mutable=["intermediates"]), variables, x
    )
    [change] = state["intermediates"]["bases_change"]
    assert change.shape == (2, 1)


def test_nothing_is_paid_for_intermediates_nobody_asked_for(variables):
    x = random_tokens(2, 12)

    def program(**options):
        def apply(x):
            return unit.apply(variables, x, train=False, **options)

        return str(jax.make_jaxpr(apply)(x))

    asked = program(mutable=["intermediates"])
    assert len(program()) < 0.7 * len(asked)
    assert " log " in asked
    assert " log " not in program()


def test_a_unit_that_starts_at_zero_leaves_a_network_as_it_was():
    """Until its BN has taken a step, after which everything behind EM learns."""
    started = EMAU(num_bases=4, zero_init=True)
    x = np.random.default_rng(0).standard_normal((2, 5, 7, 8), np.float32)
    variables = started.init(jax.random.key(1), x, train=False)

    @jax.jit
    @partial(jax.grad, has_aux=True)
    def backward(params):
        y, _ = started.apply(
            variables | {"params": params}, x, train=True, mutable=["batch_stats"]
        )
        return jnp.sum(y**2), y

    params = jax.device_get(variables["params"])
    gradients, y = jax.device_get(backward(params))
    np.testing.assert_array_equal(y, np.maximum(x, 0))
    assert np.any(gradients["bn"]["scale"])
    assert not np.any(gradients["conv2"]["kernel"])
    moved = jax.tree.map(lambda p, g: p - np.float32(0.01) * g, params, gradients)
    assert np.asarray(backward(moved)[0]["conv2"]["kernel"]).any()


def test_learned_temperature():
    x, weights = random_tokens(2, 12), random_tokens(2, 12)
    learned = unit.clone(learn_temperature=True, temperature=2.0, gradient="unroll")
    start = learned.init(jax.random.key(0), x, train=False)
    plain = {
        name: value for name, value in start["params"].items() if "log" not in name
    }

    def of_log(log):
        params = start["params"] | {"log_temperature": log}
        y = learned.apply(start | {"params": params}, x, train=False)
        return jnp.sum(weights * y), y

    def of_number(temperature):
        fixed = unit.clone(temperature=temperature, gradient="unroll")
        y = fixed.apply(start | {"params": plain}, x, train=False)
        return jnp.sum(weights * y), y

    slope, y = run(jax.grad(of_log, has_aux=True), start["params"]["log_temperature"])
    expected, of_fixed = run(jax.grad(of_number, has_aux=True), 2.0)
    np.testing.assert_allclose(y, of_fixed, atol=1e-5)
    assert abs(slope) > 1e-2
    np.testing.assert_allclose(slope, 2.0 * expected, rtol=1e-3)


@pytest.mark.parametrize("option", ["normalize_batch_mean", "renormalize_average"])
def test_what_is_normalised_in_the_moving_average(variables, option):
    x = random_tokens(3, 12)
    (_, bases), _ = jax.device_get(
        unit.apply(variables, x, train=True, return_bases=True, mutable=["batch_stats"])
    )
    _, updates = unit.clone(**{option: True}).apply(
        variables, x, train=True, mutable=["batch_stats"]
    )
    old, mean = variables["batch_stats"]["bases"], np.mean(bases, axis=0)

    def unit_norm(a):
        return a / np.linalg.norm(a, axis=-1, keepdims=True)

    if option == "normalize_batch_mean":
        expected = 0.9 * old + 0.1 * unit_norm(mean)
    else:
        expected = unit_norm(0.9 * old + 0.1 * mean)
    np.testing.assert_allclose(updates["batch_stats"]["bases"], expected, atol=1e-5)


def test_non_finite_images_are_kept_out_of_the_statistics(variables):
    x = random_tokens(3, 12)
    x[1, 4] = np.nan
    careful = unit.clone(skip_non_finite=True)
    y, updates = careful.apply(variables, x, train=True, mutable=["batch_stats"])
    others, expected = unit.apply(
        variables, x[[0, 2]], train=True, mutable=["batch_stats"]
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), updates, expected
    )
    y = np.asarray(y)
    np.testing.assert_allclose(y[[0, 2]], others, atol=1e-5)
    assert np.isnan(y[1]).any()
    _, poisoned = unit.apply(variables, x, train=True, mutable=["batch_stats"])
    assert np.isnan(poisoned["batch_stats"]["bases"]).any()
