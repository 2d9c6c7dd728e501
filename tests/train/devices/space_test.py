"""Rows of the images split over devices: the same numbers, and nothing gathered."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ema_jax.inference import Inference
from ema_jax.operation import Operation
from tests.micro import MICRO
from tests.quick import compiled, run
from train.aot.collectives import collectives, tally
from train.aot.hlo import parse
from train.devices.mesh import make_mesh, to_devices
from train.evaluation.evaluate import evaluate
from train.update.state import init_state
from train.update.step import make_train_step
from train.user.errors import UserError

CLASSES, ROWS, COLUMNS, CANVAS_ROWS = 5, 129, 65, 160
MODEL = MICRO(num_classes=CLASSES, dropout_rate=0.0, bn_decay=0.1)
OPTIMIZER = optax.sgd(0.1, momentum=0.9)


def make_batch(batch: int, canvas_rows: int) -> dict[str, np.ndarray]:
    """Noise of `ROWS` rows at the top of the canvas; a tenth has no label."""
    rng = np.random.default_rng(0)
    shape = (batch, canvas_rows, COLUMNS)
    mask = np.zeros(shape, bool)
    mask[:, :ROWS] = True
    image = rng.integers(0, 256, (batch, ROWS, COLUMNS, 3), np.uint8)
    label = rng.integers(0, CLASSES, (batch, ROWS, COLUMNS)).astype(np.uint8)
    label[rng.random(label.shape) < 0.1] = 255
    fill = [(0, 0), (0, canvas_rows - ROWS), (0, 0)]
    return {
        "image": np.pad(image, [*fill, (0, 0)]),
        "label": np.pad(label, fill, constant_values=255),
        "mask": mask,
    }


@cache
def initial_state():
    return run(lambda: init_state(MODEL, OPTIMIZER, seed=0))


def fresh_state():
    """A copy: the step donates it."""
    return jax.tree.map(jnp.array, initial_state())


def one_step(mesh, batch, **options):
    """State and metrics after one update, and the program."""
    step = make_train_step(MODEL, OPTIMIZER, mesh, **options)
    state = jax.device_put(fresh_state(), mesh.everywhere)
    placed = to_devices(batch, mesh.batch)
    program = compiled(step, state, placed)
    return *jax.device_get(program(state, placed)), program


@pytest.fixture(scope="module", autouse=True)
def as_on_accelerators():
    """Rows are split where there is an accelerator: its programs, also for the CPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Operation, "__call__", Operation.elsewhere)
        yield


@pytest.fixture(scope="module")
def one_device():
    return one_step(make_mesh(jax.devices()[:1]), make_batch(2, ROWS))


@pytest.fixture(scope="module")
def split():
    """Two images over two devices each, and each row of those over four."""
    mesh = make_mesh(space=4)
    assert dict(mesh.shape) == {"data": 2, "space": 4}
    return one_step(mesh, make_batch(2, CANVAS_ROWS), crop_rows=ROWS)


def test_a_step_is_that_of_one_device(one_device, split):
    state, metrics, _ = one_device
    other, others, _ = split
    np.testing.assert_allclose(others.loss, metrics.loss, rtol=1e-5)
    np.testing.assert_allclose(others.gradient_norm, metrics.gradient_norm, rtol=1e-4)
    difference = np.abs(others.confusion - metrics.confusion).sum()
    assert difference <= 4  # a tie between two classes falls either way
    assert others.confusion.sum() == metrics.confusion.sum()

    def check(path, a, b):
        name = jax.tree_util.keystr(path)
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5, err_msg=name)

    jax.tree_util.tree_map_with_path(check, state, other)


def test_rows_are_exchanged_and_no_features_gathered(split):
    """Halos pass by collective-permute."""
    *_, program = split
    found = tally(collectives(parse(program.as_text())))
    assert found["collective-permute"].count > 10
    for kind in ("all-gather", "all-to-all", "reduce-scatter"):
        assert found[kind].count == 0, kind


def test_a_device_needs_a_quarter_of_the_memory(one_device, split):
    whole, part = (
        program.memory_analysis().temp_size_in_bytes
        for *_, program in (one_device, split)
    )
    assert part < 0.3 / 2 * whole  # the images are split too, over two


def test_evaluation_counts_what_one_device_counts(one_device):
    rng = np.random.default_rng(1)
    sizes = np.array([(40, 50), (57, 33), (33, 65)])
    examples = [
        {
            "image": rng.integers(0, 256, (*size, 3), np.uint8),
            "label": rng.integers(0, CLASSES, size).astype(np.uint8),
        }
        for size in sizes
    ]
    variables = one_device[0].variables
    found, losses = [], []
    for mesh in (
        make_mesh(jax.devices()[:1]),
        make_mesh(jax.devices()[:4], space=4),
    ):
        counts = evaluate(
            Inference(MODEL, scales=(1.0, 0.75), flip=True, sharding=mesh.batch),
            jax.device_put(variables, mesh.everywhere),
            examples,
            sizes,
            mesh,
            num_classes=CLASSES,
            batch_size=1,
            canvas_multiple=64,
        )
        batches = list(counts)
        found.append(sum(batch.confusion[0] for batch in batches))
        losses.append([batch.cross_entropy[0] for batch in batches])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    assert found[0].sum() == sum(height * width for height, width in sizes)
    assert np.abs(found[0] - found[1]).sum() <= 4  # ties
    assert np.count_nonzero(found[0].sum(0)) > 1


@pytest.mark.parametrize("space", [3, 5, 16])
def test_rows_that_the_devices_do_not_divide(space):
    wanted = f"config.mesh.space={space} does not divide the 8 devices"
    with pytest.raises(UserError, match=wanted):
        make_mesh(space=space)
