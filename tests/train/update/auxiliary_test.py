"""The auxiliary loss: `main + weight · auxiliary`, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import default
from ema_jax.preprocessing import IMAGENET
from tests.golden import seeded
from tests.micro import NANO
from tests.quick import compiled, run
from train.devices.mesh import make_mesh
from train.update.state import init_state
from train.update.step import make_train_step

MEAN, STD = np.array(IMAGENET.mean), np.array(IMAGENET.std)
SHAPE = (2, 25, 17)
CLASSES = 5
MODEL = NANO(num_classes=CLASSES, dropout_rate=0.0, auxiliary_head=True)
OPTIMIZER = optax.sgd(1.0)  # what a step subtracts is the gradient


@pytest.fixture(scope="module")
def state():
    return jax.device_get(run(lambda: init_state(MODEL, OPTIMIZER, seed=0)))


@pytest.fixture(scope="module")
def batch():
    images = seeded.image((*SHAPE, 3), seed=3) * STD + np.array(IMAGENET.mean)
    return {
        "image": (255 * images).astype(np.float32),
        "label": seeded.labels(SHAPE, CLASSES, seed=3),
        "mask": np.ones(SHAPE, bool),
    }


@pytest.fixture(scope="module")
def separate(state, batch):
    """Both logits, and by the parameters the gradients of two losses of their own."""
    labels = batch["label"]
    valid = labels != 255
    truth = np.eye(CLASSES)[np.where(valid, labels, 0)] * valid[..., None]

    def losses(params):
        held = {"params": params, "batch_stats": state.batch_stats}
        images = (batch["image"] / 255 - MEAN) / np.array(IMAGENET.std)
        both, _ = MODEL.apply(
            held, images, train=True, auxiliary=True, mutable=["batch_stats"]
        )
        logs = [jnp.log(jax.nn.softmax(logits)) for logits in both]
        return jnp.stack([-(truth * log).sum() / labels.size for log in logs]), both

    return jax.device_get(run(jax.jacrev(losses, has_aux=True), state.params))


def by_hand(logits, labels) -> float:
    """The mean over all pixels, those without label counting zero, in float64."""
    total = 0.0
    for pixel in np.argwhere(labels != 255):
        values = np.asarray(logits[tuple(pixel)], np.float64)
        total += np.log(np.exp(values).sum()) - values[labels[tuple(pixel)]]
    return total / labels.size


@pytest.mark.parametrize("weight", [0.4, 0.0])
def test_loss_and_gradients_are_the_weighted_sum(state, batch, separate, weight):
    step = make_train_step(
        MODEL, OPTIMIZER, make_mesh(jax.devices()[:1]), auxiliary_weight=weight
    )
    fresh = jax.tree.map(np.array, state)  # the step donates it
    after, metrics = jax.device_get(compiled(step, fresh, batch)(fresh, batch))
    gradients, (logits, second) = separate
    main, auxiliary = (by_hand(x, batch["label"]) for x in (logits, second))
    assert auxiliary > 0.5
    np.testing.assert_allclose(metrics.loss, main + weight * auxiliary, rtol=1e-5)

    def check(before, after, gradient):
        wanted = gradient[0] + weight * gradient[1]
        np.testing.assert_allclose(before - after, wanted, rtol=1e-3, atol=1e-5)

    jax.tree.map(check, state.params, after.params, gradients)
    start, end = (
        tree.params["auxiliary_head"]["classifier"]["bias"] for tree in (state, after)
    )
    assert np.any(start != end) == (weight > 0)
    mean = after.batch_stats["auxiliary_head"]["conv1"]["bn"]["mean"]
    assert np.any(mean) == (weight > 0)  # left out, it sees nothing


def test_the_weight_of_the_recipe():
    assert default.get_config().optimizer.auxiliary_weight == 0.4
