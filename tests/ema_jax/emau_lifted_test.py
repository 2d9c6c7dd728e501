"""The unit where `nn.BatchNorm` works: lifted, initialised anywhere, on any mesh."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from ema_jax import EMAU, em_attention
from tests.quick import run
from tests.versions import enable_x64, skip_split_products

OPTIONS = {"num_bases": 3, "gradient": "unroll"}


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).standard_normal((8, 6, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def variables(x):
    return EMAU(**OPTIONS).init(jax.random.key(0), x, train=False)


def step(unit, variables, x, **options):
    def objective(params):
        y, updates = unit.apply(
            variables | {"params": params}, x, mutable=["batch_stats"], **options
        )
        return jnp.sum(jnp.sin(y)), updates

    return run(jax.grad(objective, has_aux=True), variables["params"])


def assert_same(actual, expected):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
        actual,
        expected,
    )


@pytest.fixture(scope="module")
def expected(variables, x):
    return step(EMAU(**OPTIONS), variables, x, train=True)


@pytest.mark.parametrize("lift", [nn.remat, nn.jit])
def test_lifted_by_itself(lift, variables, x, expected):
    assert_same(step(lift(EMAU)(**OPTIONS, train=True), variables, x), expected)


def test_one_unit_for_each_of_several_inputs(variables, x):
    several = nn.vmap(
        EMAU, variable_axes={"params": 0, "batch_stats": 0}, split_rngs={"params": True}
    )(**OPTIONS, train=False)
    own = jax.device_get(variables)
    twice = jax.tree.map(lambda leaf: np.stack([leaf, 2 * leaf]), own)
    both = np.asarray(several.apply(twice, np.stack([x, x])))
    single = EMAU(**OPTIONS, train=False)
    for index in range(2):
        own = jax.tree.map(lambda leaf, i=index: leaf[i], twice)
        np.testing.assert_allclose(both[index], single.apply(own, x), atol=1e-5)


def test_training_is_said_once(variables, x):
    with pytest.raises(ValueError, match="train"):
        EMAU(**OPTIONS).apply(variables, x)
    with pytest.raises(ValueError, match="train"):
        EMAU(**OPTIONS, train=True).apply(variables, x, train=True)


@pytest.mark.parametrize("train", [True, False])
def test_init_needs_no_mapped_axis(variables, x, train):
    """As in Flax: where variables are made there is no `shard_map` around."""
    unit = EMAU(**OPTIONS, axis_name="data", token_axis_name="tokens")
    mask = np.ones(x.shape[:-1], bool)
    made = unit.init(jax.random.key(0), x, mask, train=train)
    assert_same(made, variables)


def test_a_mesh_with_explicit_axes(variables, x, expected):
    """`jax.make_mesh` makes such a mesh; arrays carry their sharding in their type."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    attend = jax.jit(em_attention)
    attended = attend(x, variables["batch_stats"]["bases"])
    with jax.set_mesh(mesh):
        split = jax.device_put(x, NamedSharding(mesh, P("data")))
        found = step(EMAU(**OPTIONS), jax.device_put(variables, P()), split, train=True)
        assert_same(found, expected)
        bases = jax.device_put(variables["batch_stats"]["bases"], P())
        spread = attend(split, bases)
        assert jax.typeof(spread.bases).sharding.spec == P("data", None, None)
    assert_same(spread, attended)


@pytest.mark.parametrize(
    "options",
    [
        {"gradient": "unroll"},
        {"gradient": "implicit", "num_heads": 2},
        {"kernel": "gaussian", "covariance": "diagonal", "mixing": "learned"},
    ],
    ids=["unroll", "heads", "mixture"],
)
def test_a_mesh_with_explicit_axes_for_the_rows_of_images(options):
    """Sums over the tokens say where they lie; outputs, statistics, gradients."""
    skip_split_products()
    explicit = (jax.sharding.AxisType.Explicit,) * 2
    mesh = jax.make_mesh((2, 4), ("data", "rows"), axis_types=explicit)
    unit = EMAU(num_bases=4, **{"gradient": "last_step", **options})
    rng = np.random.default_rng(0)
    x, cotangent = rng.standard_normal((2, 4, 8, 6, 8), np.float32)
    mask = rng.random((4, 8, 6)) > 0.3
    variables = EMAU(num_bases=4).init(jax.random.key(0), x, train=False)

    def loss(variables, x, mask, cotangent):
        y, stats = unit.apply(variables, x, mask, train=True, mutable=["batch_stats"])
        return jnp.sum(y * cotangent), (y, stats)

    gradients = jax.jit(jax.grad(loss, (0, 1), has_aux=True))
    expected = gradients(variables, x, mask, cotangent)
    with jax.set_mesh(mesh):
        rows = NamedSharding(mesh, P("data", "rows"))
        found = gradients(variables, *jax.device_put((x, mask, cotangent), rows))
    assert jax.typeof(found[1][0]).sharding.spec == P("data", "rows", None, None)
    for actual, wanted in zip(
        jax.tree.leaves(found), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(actual, wanted, rtol=1e-3, atol=1e-4)


def test_trained_steps_can_be_scanned_under_float64(x):
    """What is stored keeps its type, whatever the compute type."""
    with enable_x64():
        unit = EMAU(
            num_bases=3,
            gradient="unroll",
            learn_temperature=True,
            dtype=jnp.float64,
        )
        key = jax.random.key(0)
        variables = jax.eval_shape(partial(unit.init, train=False), key, x)
        assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {
            jnp.dtype("float32")
        }

        def train(variables, _):
            _, updates = unit.apply(variables, x, train=True, mutable=["batch_stats"])
            return variables | updates, None

        jax.eval_shape(partial(jax.lax.scan, train, length=2), variables)
        for number in (2.0, np.float64(2.0), 2):
            jax.eval_shape(partial(em_attention, temperature=number), x, x[:, :2])


def test_strict_rank_promotion(variables, x):
    with jax.numpy_rank_promotion("raise"):
        apply = partial(EMAU(**OPTIONS).apply, train=True, mutable=["batch_stats"])
        jax.eval_shape(apply, variables, x)
