"""The unit on several devices is the unit on one, however the work is split."""

from functools import partial
from operator import itemgetter

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ema_jax import EMAU, EMAttention, em_attention
from tests.golden.rebuild import relative_error
from tests.quick import run

BATCH, TOKENS, CHANNELS, BASES = 8, 12, 6, 5
unit = EMAU(num_bases=BASES, bn_decay=0.9)


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    rng = np.random.default_rng(0)
    scale = 1 + np.arange(BATCH)[:, None, None]  # no two devices see alike
    tokens = scale * rng.standard_normal((BATCH, TOKENS, CHANNELS))
    return tokens.astype(np.float32)


@pytest.fixture(scope="module")
def variables(x):
    return unit.init(jax.random.key(0), x, train=False)


@partial(jax.jit, static_argnums=0)
def step(unit: EMAU, variables, x, mask=None):
    y, updates = unit.apply(
        variables, x, train=True, mask=mask, mutable=["batch_stats"]
    )
    return y, updates["batch_stats"]


@pytest.fixture(scope="module")
def one_device(variables, x):
    return jax.device_get(step(unit, variables, x))


def assert_same(actual, expected) -> None:
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
        actual,
        expected,
    )


def mesh(**axes: int) -> Mesh:
    count = int(np.prod(list(axes.values())))
    devices = np.array(jax.devices()[:count]).reshape(*axes.values())
    return Mesh(devices, tuple(axes))


def test_jit_over_eight_devices(variables, x, one_device):
    devices = mesh(data=8)
    compiled = jax.jit(
        partial(step, unit),
        in_shardings=(NamedSharding(devices, P()), NamedSharding(devices, P("data"))),
        out_shardings=(NamedSharding(devices, P("data")), NamedSharding(devices, P())),
    )
    y, stats = compiled(variables, x)
    assert_same((y, stats), one_device)
    for shard in stats["bases"].addressable_shards:
        np.testing.assert_array_equal(shard.data, stats["bases"])


@pytest.mark.parametrize("masked", [False, True])
def test_shard_map_over_the_batch(variables, x, one_device, masked):
    """Masked: the devices hold unlike numbers of tokens, one of them none."""
    lengths = np.array([12, 3, 7, 0, 1, 12, 5, 9])
    mask = (
        np.arange(TOKENS) < lengths[:, None] if masked else np.ones(x.shape[:2], bool)
    )
    expected = step(unit, variables, x, mask)
    if not masked:
        assert_same(expected, one_device)
    mapped = unit.clone(axis_name="data")
    sharded = jax.shard_map(
        partial(step, mapped),
        mesh=mesh(data=8),
        in_specs=(P(), P("data"), P("data")),
        out_specs=(P("data"), P()),  # checked: every device has the same μ⁰
    )
    assert_same(jax.jit(sharded)(variables, x, mask), expected)


def test_pmap(variables, x, one_device):
    mapped = unit.clone(axis_name="data")
    y, stats = jax.pmap(partial(step, mapped), axis_name="data", in_axes=(None, 0))(
        variables, x[:, None]
    )
    assert_same(np.asarray(y)[:, 0], one_device[0])
    everywhere = jax.tree.map(lambda leaf: np.repeat(leaf[None], 8, 0), one_device[1])
    assert_same(stats, everywhere)


@pytest.mark.parametrize("gradient", ["unroll", "implicit"])
def test_shard_map_over_the_tokens(variables, x, gradient):
    """Images over two devices, tokens over four; outputs and gradients."""
    mask = np.arange(TOKENS) < np.array([12, 3, 7, 0, 1, 12, 5, 9])[:, None]
    cotangent = np.random.default_rng(1).standard_normal(x.shape)

    def loss(unit, params, x, mask, cotangent):
        y, stats = step(unit, variables | {"params": params}, x, mask)
        return jnp.sum(jnp.where(mask[..., None], y * cotangent, 0)), (y, stats)

    alone = unit.clone(gradient=gradient)
    mapped = alone.clone(axis_name="data", token_axis_name="tokens")

    def shard_loss(params, x, mask, cotangent):
        part, (y, stats) = loss(mapped, params, x, mask, cotangent)
        return jax.lax.psum(part, ("data", "tokens")), (y, stats)

    split = P("data", "tokens")
    sharded = jax.shard_map(
        shard_loss,
        mesh=mesh(data=2, tokens=4),
        in_specs=(P(), split, split, split),
        out_specs=(P(), (split, P())),
    )
    arguments = variables["params"], x, mask, cotangent
    grad = partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
    (expected, aux), wanted = jax.jit(grad(partial(loss, alone)))(*arguments)
    (value, sharded_aux), gradients = jax.jit(grad(sharded))(*arguments)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert_same(sharded_aux[1], aux[1])
    for actual, other in zip(
        jax.tree.leaves(gradients), jax.tree.leaves(wanted), strict=True
    ):
        assert relative_error(actual, other) < 1e-3  # sums in another order


def collectives(hlo: str) -> list[str]:
    """Lines of the compiled program at which devices exchange."""
    kinds = ("all-reduce", "all-gather", "all-to-all", "collective-permute")
    return [
        line for line in hlo.splitlines() if any(f" {kind}(" in line for kind in kinds)
    ]


@pytest.mark.parametrize("style", ["jit", "shard_map"])
def test_tokens_over_devices_exchange_sums_alone(style):
    """K·(C+1) numbers for an iteration; x is never gathered."""
    tokens, channels, bases, num_iters = 64, 16, 4, 3
    x = np.random.default_rng(0).standard_normal((tokens, channels), np.float32)
    mu = x[:bases]
    devices, rows = mesh(tokens=4), P("tokens")
    attend = partial(em_attention, num_iters=num_iters)
    if style == "jit":
        place = partial(NamedSharding, devices)
        compiled = jax.jit(
            attend,
            in_shardings=(place(rows), place(P())),
            out_shardings=EMAttention(place(rows), place(P()), place(rows)),
        )
    else:
        compiled = jax.jit(
            jax.shard_map(
                partial(attend, axis_name="tokens"),
                mesh=devices,
                in_specs=(rows, P()),
                out_specs=EMAttention(rows, P(), rows),
            )
        )
    assert_same(tuple(compiled(x, mu)), tuple(jax.jit(attend)(x, mu)))
    lines = collectives(compiled.lower(x, mu).compile().as_text())
    assert lines
    assert all(" all-reduce(" in line for line in lines)
    if style == "shard_map":
        assert all(f"f32[{bases},{channels + 1}]" in line for line in lines)
        assert len(lines) == 2  # one in the loop's body, one after it
    else:
        assert not any(f"[{tokens}," in line for line in lines)


def test_halves_of_a_batch_average_to_its_bases(variables, x, one_device):
    """Gradient accumulation: both halves from one μ⁰, then the mean of the updates."""
    first, second = jax.device_get(
        [step(unit, variables, half)[1] for half in (x[::2], x[1::2])]
    )
    mean = jax.tree.map(lambda a, b: (a + b) / 2, first, second)
    assert_same(mean["bases"], one_device[1]["bases"])
    assert relative_error(first["bases"], mean["bases"]) > 1e-3


def test_vmap_over_models(x):
    """Three units at once, as in an ensemble."""
    keys = jax.random.split(jax.random.key(1), 3)
    several = run(jax.vmap(lambda key: unit.init(key, x, train=False)), keys)
    together = run(jax.vmap(partial(step, unit), (0, None)), several, x)
    several, together = jax.device_get((several, together))
    for model in range(3):
        own, expected = jax.tree.map(itemgetter(model), (several, together))
        assert_same(step(unit, own, x), expected)


@pytest.mark.parametrize("gradient", ["stop", "implicit"])
def test_remat_and_scan(x, gradient):
    """Two units in a row by `nn.scan` over `nn.remat`, each with its own μ⁰."""
    options = {"num_bases": BASES, "gradient": gradient, "bn_decay": 0.9}

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return EMAU(**options, name="unit")(x, train=True), None

    stack = nn.scan(
        nn.remat(Block),
        variable_axes={"params": 0, "batch_stats": 0},
        split_rngs={"params": True},
        length=2,
    )()
    variables = stack.init(jax.random.key(0), x, None)
    cotangent = np.random.default_rng(1).standard_normal(x.shape)

    def scanned(params):
        (y, _), updates = stack.apply(
            variables | {"params": params}, x, None, mutable=["batch_stats"]
        )
        return jnp.sum(y * cotangent), updates["batch_stats"]["unit"]

    def in_a_row(params):
        y, stats = x, []
        for layer in range(2):
            trees = {"params": params, "batch_stats": variables["batch_stats"]}
            own = jax.tree.map(itemgetter(layer), trees)
            own = {name: tree["unit"] for name, tree in own.items()}
            y, updates = step(EMAU(**options), own, y)
            stats.append(updates)
        return jnp.sum(y * cotangent), jax.tree.map(lambda *a: jnp.stack(a), *stats)

    actual = jax.jit(jax.grad(scanned, has_aux=True))(variables["params"])
    expected = jax.jit(jax.grad(in_a_row, has_aux=True))(variables["params"])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
        actual,
        expected,
    )
