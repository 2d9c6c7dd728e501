"""Batches in pieces, and statistics of groups, against loops over them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.micro import NANO
from tests.quick import compiled, run
from train.aot.collectives import collectives, tally
from train.aot.hlo import parse
from train.devices.mesh import make_mesh, to_devices
from train.update.objective import forward, make_objective
from train.update.state import init_state, split_largest, state_sharding
from train.update.step import make_train_step

CLASSES, SIZE, BATCH = 4, 33, 8
MODEL = NANO(num_classes=CLASSES, dropout_rate=0.0, bn_decay=0.5)
RATE = 0.1
OPTIMIZER = optax.sgd(RATE, momentum=0.9)


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    shape = (BATCH, SIZE, SIZE)
    bright = np.arange(1, BATCH + 1)[:, None, None, None] / BATCH  # unlike statistics
    return {
        "image": (rng.integers(0, 256, (*shape, 3)) * bright).astype(np.uint8),
        "label": rng.integers(0, CLASSES, shape).astype(np.uint8),
        "mask": np.ones(shape, bool),
    }


@pytest.fixture(scope="module")
def state():
    return jax.device_get(run(lambda: init_state(MODEL, OPTIMIZER, seed=0)))


@pytest.fixture(scope="module")
def gradient_of(state):
    """Loss, statistics and gradient of a few images: compiled once for their number."""
    objective = make_objective(MODEL, make_mesh(jax.devices()[:1]))
    function = jax.value_and_grad(objective, has_aux=True)
    key = jax.random.key(0)
    programs = {}

    def run(batch_stats, images):
        arguments = (state.params, batch_stats, images, key)
        count = len(images["label"])
        if count not in programs:
            programs[count] = compiled(function, *arguments)
        return jax.device_get(programs[count](*arguments))

    return run


def step_on(devices, state, batch, **options):
    mesh = make_mesh(jax.devices()[:devices])
    step = make_train_step(MODEL, OPTIMIZER, mesh, **options)
    held = options.get("placed") or mesh.everywhere
    fresh = jax.tree.map(np.array, state)  # the step donates it
    arguments = jax.device_put(fresh, held), to_devices(batch, mesh.batch)
    return compiled(step, *arguments)(*arguments)


def take(batch, rows):
    return {name: array[np.array(rows)] for name, array in batch.items()}


def check_moved(before, after, gradients):
    def check(a, b, gradient):
        np.testing.assert_allclose((a - b) / RATE, gradient, rtol=1e-3, atol=1e-4)

    jax.tree.map(check, before.params, after.params, gradients)


def check_close(tree, wanted, rtol=1e-4):
    def check(a, b):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-5)

    jax.tree.map(check, tree, wanted)


def test_pieces_are_small_batches_one_after_the_other(state, batch, gradient_of):
    """Each of two devices splits its own four images in two."""
    after, metrics = jax.device_get(step_on(2, state, batch, accumulation=2))
    stats, losses, gradients, confusion = state.batch_stats, [], [], 0
    for rows in ([0, 1, 4, 5], [2, 3, 6, 7]):
        (loss, seen), gradient = gradient_of(stats, take(batch, rows))
        stats, confusion = seen.batch_stats, confusion + seen.confusion
        losses.append(loss)
        gradients.append(gradient)
    mean = jax.tree.map(lambda *pieces: sum(pieces) / 2, *gradients)
    np.testing.assert_allclose(metrics.loss, np.mean(losses), rtol=1e-5)
    norm = run(optax.tree.norm, mean)
    np.testing.assert_allclose(metrics.gradient_norm, norm, rtol=1e-4)
    np.testing.assert_array_equal(metrics.confusion, confusion)
    check_moved(state, after, mean)
    check_close(after.batch_stats, stats)


def test_groups_have_their_own_statistics(state, batch, gradient_of):
    """Two groups of four, each on a device: by hand, each alone."""
    after, metrics = jax.device_get(step_on(2, state, batch, norm_groups=2))
    results = [
        gradient_of(state.batch_stats, take(batch, rows))
        for rows in (range(4), range(4, 8))
    ]
    losses = [loss for (loss, _), _ in results]
    np.testing.assert_allclose(metrics.loss, np.mean(losses), rtol=1e-5)
    mean = jax.tree.map(lambda a, b: (a + b) / 2, *(g for _, g in results))
    check_moved(state, after, mean)
    stats = [seen.batch_stats for (_, seen), _ in results]
    check_close(after.batch_stats, jax.tree.map(lambda a, b: (a + b) / 2, *stats))


@pytest.mark.parametrize("groups", [1, 8])
def test_groups_on_their_own_devices_normalise_without_an_exchange(
    state, batch, groups
):
    """What is left is the loss, and the confusion matrix."""
    mesh = make_mesh()
    objective = make_objective(MODEL, mesh, norm_groups=groups)

    def loss_and_confusion(params, stats, batch):
        loss, seen = objective(params, stats, batch, jax.random.key(0))
        return loss, seen.confusion

    everywhere = mesh.everywhere
    function = jax.jit(
        loss_and_confusion,
        in_shardings=(everywhere, everywhere, mesh.batch),
        out_shardings=everywhere,
    )
    program = compiled(function, state.params, state.batch_stats, batch)
    layers = sum(
        "mean" in path[-1].key
        for path, _ in jax.tree.leaves_with_path(state.batch_stats)
    )
    found = tally(collectives(parse(program.as_text())))["all-reduce"].count
    assert found == 2 if groups == 8 else found > layers // 2


def test_the_split_momentum_gives_the_same(state, batch):
    """Eight devices of which each has an eighth of what can be split."""
    mesh = make_mesh()
    shapes = jax.eval_shape(lambda: state)
    placed = state_sharding(shapes, mesh, shard_optimizer=True)
    after, metrics = step_on(8, state, batch, placed=placed)
    wanted, expected = step_on(8, state, batch)
    np.testing.assert_allclose(metrics.loss, expected.loss, rtol=1e-6)
    check_close(after, wanted, rtol=1e-5)
    kernel = after.opt_state[0].trace["head"]["reduce"]["conv"]["kernel"]
    held = kernel.addressable_shards[0].data.size
    assert held == kernel.size // 8
    whole = after.params["head"]["reduce"]["conv"]["kernel"]
    assert whole.is_fully_replicated


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((3, 3, 16, 64), (None, None, None, "data")), ((64, 16), ("data", None))],
)
def test_the_largest_axis_is_split(shape, wanted):
    [found] = split_largest([jax.ShapeDtypeStruct(shape, jnp.float32)], make_mesh())
    assert tuple(found.spec) == wanted


@pytest.mark.parametrize("shape", [(), (7,), (3, 3, 21)])
def test_what_cannot_be_split_is_everywhere(shape):
    [found] = split_largest([jax.ShapeDtypeStruct(shape, jnp.float32)], make_mesh())
    assert found.is_fully_replicated


def test_groups_drop_other_channels(batch, state):
    """Of images that are all alike."""
    model = NANO(num_classes=CLASSES, dropout_rate=0.5)
    images = np.repeat(np.float32(batch["image"][:1] / 255), 2, axis=0)

    def logits(variables, images):
        key = jax.random.key(0)
        return forward(model, variables, images, None, key, 2, auxiliary=False)[0][0]

    first, second = np.asarray(run(logits, state.variables, images))
    assert np.abs(first - second).max() > 0.01
