"""The unit of NNX: PyTorch's golden values, Linen's updates, and NNX's transforms."""

import dataclasses
import inspect
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ema_jax import EMAU as Linen  # noqa: N811
from ema_jax.nnx import EMAU, BatchNorm, from_linen, to_linen
from tests.golden import cases, seeded
from tests.golden.rebuild import golden, golden_unit, relative_error

CHANNELS = 8
OPTIONS = {
    "default": {},
    "heads": {
        "num_heads": 2,
        "bases_decay": 0.7,
        "renormalize_average": True,
        "eval_window": (3, 2),
    },
    "unrolled": {"gradient": "unroll", "learn_temperature": True, "temperature": 3.0},
    "trained bases": {"gradient": "unroll", "bases_update": "gradient"},
    "layer": {"normalization": "layer", "gradient": "last_step", "num_iters": 2},
    "mixture": {
        "kernel": "gaussian",
        "normalization": "none",
        "covariance": "diagonal",
        "mixing": "learned",
        "gradient": "implicit",
    },
    "hard": {"assignment": "hard", "normalize_batch_mean": True, "bn_decay": 0.9},
    "careful": {"skip_non_finite": True, "bases_update": "none"},
}


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def make(**options) -> EMAU:
    return EMAU(CHANNELS, **{"num_bases": 4, **options}, rngs=nnx.Rngs(0))


@partial(nnx.jit, static_argnames=("use_running_average", "return_bases"))
def call(unit, x, **options):
    return unit(x, **options)


def stored(unit) -> np.ndarray:
    """μ⁰ as it is now."""
    return np.array(unit.bases[...])


@pytest.mark.parametrize("size", cases.UNIT_SIZES, ids=cases.size_name)
def test_equals_pytorch(size):
    expected = {
        key.removeprefix(f"{cases.size_name(size)}/"): value
        for key, value in golden("emau").items()
    }

    @nnx.jit
    def create():
        options = {"num_bases": cases.UNIT_NUM_BASES, "num_iters": cases.UNIT_NUM_ITERS}
        return EMAU(cases.UNIT_CHANNELS, **options, rngs=nnx.Rngs(0))

    unit = create()
    from_linen(unit, golden_unit())
    shape = (cases.UNIT_BATCH, *size, cases.UNIT_CHANNELS)
    x = seeded.values("emau.input", shape, seed=0)
    cotangent = seeded.values("emau.cotangent", x.shape, seed=cases.COTANGENT_SEED)

    unit.eval()
    assert relative_error(call(unit, x), expected["eval/output"]) < 1e-5

    @nnx.jit
    def step(unit, x):
        def objective(unit, x):
            y = unit(x)
            return jnp.sum(y * cotangent), y

        return nnx.value_and_grad(objective, argnums=(0, 1), has_aux=True)(unit, x)

    unit.train()
    (_, y), (gradients, dx) = step(unit, x)
    assert relative_error(y, expected["train/output"]) < 1e-4
    assert relative_error(unit.bases[...], expected["train/mu"][0].T) < 1e-5
    mean, variance = (
        expected["train/running_mean"],
        expected["train/running_var_biased"],
    )
    assert relative_error(unit.bn.mean[...], mean) < 1e-5
    assert relative_error(unit.bn.var[...], variance) < 1e-5
    assert relative_error(dx, expected["train/grad_input"]) < 1e-4
    gradients = jax.device_get(nnx.to_pure_dict(gradients))
    kernel = expected["train/grad_conv2"][:, :, 0, 0].T
    assert relative_error(gradients["conv2"]["kernel"], kernel) < 1e-4
    assert not np.any(gradients["conv1"]["kernel"])  # nothing flows through EM


@pytest.mark.parametrize("devices", [1, 8])
def test_ten_updates_are_those_of_linen(devices):
    mesh = Mesh(np.array(jax.devices()[:devices]), ("data",))
    x = jax.device_put(random(8, 12, CHANNELS), NamedSharding(mesh, P("data")))
    wanted = random(8, 12, CHANNELS, seed=1)
    linen = Linen(num_bases=4)
    unit, everywhere = make(), NamedSharding(mesh, P())
    nnx.update(unit, jax.device_put(nnx.state(unit), everywhere))
    variables = jax.tree.map(jnp.copy, to_linen(unit))
    optimizer = nnx.Optimizer(unit, optax.sgd(0.1, momentum=0.9), wrt=nnx.Param)

    @nnx.jit
    def update(unit, optimizer, x):
        def loss(unit):
            return jnp.mean(jnp.square(unit(x) - wanted))

        value, gradients = nnx.value_and_grad(loss)(unit)
        optimizer.update(unit, gradients)
        return value

    sgd = optax.sgd(0.1, momentum=0.9)

    @jax.jit
    def peer(variables, momentum, x):
        def loss(params):
            y, stats = linen.apply(
                variables | {"params": params}, x, train=True, mutable=["batch_stats"]
            )
            return jnp.mean(jnp.square(y - wanted)), stats

        params = variables["params"]
        (value, stats), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        updates, momentum = sgd.update(gradients, momentum, params)
        return (
            value,
            {"params": optax.apply_updates(params, updates), **stats},
            momentum,
        )

    momentum = jax.device_put(sgd.init(variables["params"]), everywhere)
    for _ in range(10):
        expected, variables, momentum = peer(variables, momentum, x)
        np.testing.assert_allclose(update(unit, optimizer, x), expected, rtol=1e-5)
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=0, atol=1e-6),
        to_linen(unit),
        variables,
    )


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("train", [True, False])
def test_every_option_does_what_it_does_in_linen(options, train):
    x, cotangent = random(3, 5, 4, CHANNELS), random(3, 5, 4, CHANNELS, seed=1)
    mask = np.random.default_rng(2).random((3, 5, 4)) > 0.3
    mask[2] = False
    x[0, 0, 0], mask[0, 0, 0] = np.nan, False
    linen, unit = Linen(num_bases=4, **options), make(**options)
    before = jax.tree.map(np.array, to_linen(unit))

    @nnx.jit
    def both(unit, x):
        variables = to_linen(unit)

        def loss(unit, x):
            y = unit(x, mask, use_running_average=not train)
            return jnp.sum(y * cotangent), y

        def objective(params, x):
            y, stats = linen.apply(
                variables | {"params": params},
                x,
                mask,
                train=train,
                mutable=["batch_stats"],
            )
            return jnp.sum(y * cotangent), (y, stats.get("batch_stats", {}))

        expected = jax.grad(objective, (0, 1), has_aux=True)(variables["params"], x)
        return nnx.grad(loss, argnums=(0, 1), has_aux=True)(unit, x), expected

    found, ((dparams, dx), (y, stats)) = both(unit, x)
    (actual, actual_dx), actual_y = found
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    close(actual_y, y)
    close(actual_dx, dx)
    jax.tree.map(close, nnx.to_pure_dict(actual), dparams)
    jax.tree.map(close, to_linen(unit)["batch_stats"], stats)
    moved = np.any(stored(unit) != before.get("batch_stats", {}).get("bases", 0))
    assert moved == (train and unit.bases_update == "moving_average") or (
        unit.bases_update == "gradient"
    )


def test_the_options_and_defaults_are_those_of_linen():
    fields = {field.name: field.default for field in dataclasses.fields(Linen)}
    own = inspect.signature(EMAU.__init__).parameters
    shared = fields.keys() - {"train", "parent", "name"}
    assert own.keys() - shared == {
        *("self", "num_features", "rngs", "use_running_average", "keep_intermediates")
    }
    assert {name: own[name].default for name in shared} == {
        name: fields[name] for name in shared
    }


def test_it_begins_as_the_unit_of_linen_does():

    @nnx.jit
    def create():
        plain = EMAU(256, num_bases=32, rngs=nnx.Rngs(3))
        return plain, EMAU(8, zero_init=True, rngs=nnx.Rngs(3))

    unit, zero = create()
    for layer in (unit.conv1, unit.conv2):
        spread = np.std(np.asarray(layer.kernel[...]))
        np.testing.assert_allclose(spread, (2 / 256) ** 0.5, rtol=0.02)
    assert not np.asarray(unit.conv1.bias[...]).any()
    norms = np.linalg.norm(stored(unit), axis=-1)
    np.testing.assert_allclose(norms, 1, rtol=1e-5)
    assert not np.asarray(zero.bn.scale[...]).any()


def test_as_a_newcomer_writes_it():
    """`nnx.Sequential`, `optax`, `model.train()`, `nnx.jit`: the loss halves."""
    rngs = nnx.Rngs(0)
    model = nnx.Sequential(
        nnx.Conv(3, 8, (3, 3), rngs=rngs),
        nnx.BatchNorm(8, rngs=rngs),
        nnx.relu,
        EMAU(8, num_bases=4, gradient="unroll", rngs=rngs),
        nnx.Linear(8, 3, rngs=rngs),
    )
    x = random(4, 9, 9, 3)
    labels = np.argmax(x + np.roll(x, 1, 1), axis=-1)
    optimizer = nnx.Optimizer(model, optax.adam(0.01), wrt=nnx.Param)

    @nnx.jit
    def train_step(model, optimizer, x, labels):
        def loss(model):
            losses = optax.softmax_cross_entropy_with_integer_labels(model(x), labels)
            return losses.mean()

        value, gradients = nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradients)
        return value

    model.train()
    losses = [float(train_step(model, optimizer, x, labels)) for _ in range(40)]
    assert losses[-1] < losses[0] / 2
    model.eval()
    before = jax.tree.map(np.array, to_linen(model))
    first = call(model, x)
    np.testing.assert_array_equal(call(model, x), first)
    jax.tree.map(np.testing.assert_array_equal, to_linen(model), before)


def test_the_mode_is_the_models_unless_a_call_says_otherwise():
    x, unit = random(2, 6, CHANNELS), make()
    assert not unit.use_running_average  # as nnx.BatchNorm
    before = stored(unit)
    call(unit, x, use_running_average=True)
    np.testing.assert_array_equal(stored(unit), before)
    unit.eval()
    assert unit.use_running_average
    call(unit, x)
    np.testing.assert_array_equal(stored(unit), before)
    call(unit, x, use_running_average=False)
    assert np.any(stored(unit) != before)
    unit.train()
    before = stored(unit)
    call(unit, x)
    assert np.any(stored(unit) != before)


@pytest.mark.skipif(not hasattr(nnx, "view"), reason="this flax has no nnx.view")
def test_a_view_has_a_mode_of_its_own():
    x, unit = random(2, 6, CHANNELS), make()
    before = stored(unit)
    call(nnx.view(unit, use_running_average=True), x)
    np.testing.assert_array_equal(stored(unit), before)
    assert not unit.use_running_average


def test_split_merge_and_abstract():
    x, unit = random(2, 6, CHANNELS), make()
    graph, params, stats = nnx.split(unit, nnx.Param, nnx.BatchStat)
    assert set(nnx.to_pure_dict(stats)) == {"bases", "bn"}

    @jax.jit
    def pure(params, stats, x):
        module = nnx.merge(graph, params, stats)
        y = module(x)
        return y, nnx.state(module, nnx.BatchStat)

    y, stats = pure(params, stats, x)
    nnx.update(unit, stats)
    other = make()
    np.testing.assert_allclose(y, call(other, x), atol=1e-5)
    np.testing.assert_allclose(stored(unit), stored(other), atol=1e-6)
    abstract = nnx.eval_shape(make)
    assert to_linen(abstract)["batch_stats"]["bases"] == jax.ShapeDtypeStruct(
        (4, CHANNELS), jnp.float32
    )


def test_vmap_over_several_units():
    """An ensemble: each has its own μ⁰, and moves it."""

    def create(key):
        return EMAU(CHANNELS, num_bases=4, rngs=nnx.Rngs(key))

    @nnx.jit
    @nnx.vmap(in_axes=(0, None), out_axes=0)
    def run(unit, x):
        return unit(x)

    keys = jax.random.split(jax.random.key(0), 3)
    x = random(2, 6, CHANNELS)
    units = nnx.jit(nnx.vmap(create, in_axes=0, out_axes=0))(keys)
    outputs = np.asarray(run(units, x))
    for index, key in enumerate(keys):
        alone = create(key)
        np.testing.assert_allclose(outputs[index], call(alone, x), atol=1e-4)
        np.testing.assert_allclose(stored(units)[index], stored(alone), atol=1e-5)


def test_remat_computes_the_same_and_updates_once():
    x, unit, again = random(2, 6, CHANNELS), make(), make()

    @nnx.jit
    def plain(unit, x):
        return nnx.grad(lambda unit: jnp.sum(jnp.square(unit(x))))(unit)

    @nnx.jit
    def remat(unit, x):
        run = nnx.remat(lambda unit, x: unit(x))
        return nnx.grad(lambda unit: jnp.sum(jnp.square(run(unit, x))))(unit)

    expected, actual = plain(unit, x), remat(again, x)
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6),
        (nnx.to_pure_dict(actual), to_linen(again)),
        (nnx.to_pure_dict(expected), to_linen(unit)),
    )


def test_shard_map_over_the_batch():
    x, unit = random(8, 6, CHANNELS), make(bn_decay=0.5)
    mapped = make(bn_decay=0.5, axis_name="data")
    graph, state = nnx.split(mapped)
    mesh = Mesh(np.array(jax.devices()), ("data",))

    @jax.jit
    @partial(
        jax.shard_map,
        mesh=mesh,
        in_specs=(P(), P("data")),
        out_specs=(P("data"), P()),
    )
    def run(state, x):
        module = nnx.merge(graph, state)
        y = module(x)
        return y, nnx.state(module)

    y, state = run(state, x)
    nnx.update(mapped, state)
    np.testing.assert_allclose(y, call(unit, x), atol=1e-5)
    jax.tree.map(
        partial(np.testing.assert_allclose, atol=1e-5), to_linen(mapped), to_linen(unit)
    )


def test_what_em_did_is_left_where_asked_for():
    x, unit = random(2, 6, CHANNELS), make(keep_intermediates=True)
    call(unit, x)
    seen = nnx.to_pure_dict(nnx.pop(unit, nnx.Intermediate))["intermediates"]
    linen = Linen(num_bases=4)
    collections = ["intermediates", "batch_stats"]
    _, state = linen.apply(to_linen(make()), x, train=True, mutable=collections)
    assert seen.keys() == state["intermediates"].keys()
    for name, (value,) in state["intermediates"].items():
        np.testing.assert_allclose(seen[name], value, rtol=1e-4, atol=1e-5)
    assert not nnx.state(unit, nnx.Intermediate)


def test_bases_of_the_frame_before():
    x, unit = random(2, 6, CHANNELS), make()
    unit.eval()
    _, bases = call(unit, x, return_bases=True)
    y = call(unit, x, initial_bases=bases)
    variables = to_linen(unit)
    expected = Linen(num_bases=4).apply(variables, x, train=False, initial_bases=bases)
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_bfloat16_keeps_float32_variables():
    unit = make(dtype=jnp.bfloat16)
    y = call(unit, random(2, 6, CHANNELS).astype(jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(to_linen(unit))} == {
        jnp.dtype("float32")
    }


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make(num_bases=0), "num_bases=0; give an integer of at least 1"),
        (lambda: make(num_heads=3), "num_heads=3 does not divide the 8 channels"),
        (lambda: make(covariance="full"), "covariance='full' is unknown"),
        (lambda: make(learn_temperature=True), "lets nothing reach the temperature"),
        (lambda: EMAU(0, rngs=nnx.Rngs(0)), "num_features=0"),
        (lambda: make()(random(2, 6, 4)), "x has 4 channels, and num_features=8"),
        (lambda: make()(random(6, 8)), r"give \(B, \*spatial, C\)"),
        (lambda: make()(random(2, 6, 8), np.ones((2, 5))), "mask has shape"),
        (lambda: BatchNorm(0, rngs=nnx.Rngs(0)), "num_features=0"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_variables_that_do_not_fit_change_nothing():
    unit = make()
    before = jax.tree.map(np.array, to_linen(unit))
    given = jax.tree.map(np.array, to_linen(make()))
    given["params"]["conv3"] = {"kernel": np.ones((8, 8))}
    given["params"]["conv2"] = {"kernel": np.ones((8, 4))}
    del given["batch_stats"]["bases"]
    message = (
        "the variables do not fit the module: missing batch_stats/bases; "
        "unknown params/conv3/kernel; params/conv2/kernel (8, 4), not (8, 8)"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        from_linen(unit, given)
    jax.tree.map(np.testing.assert_array_equal, to_linen(unit), before)
