"""The unit as a guest in models of other kinds, each trained a few steps."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from ema_jax import EMAU

CLASSES, BATCH = 3, 4


class ViTBlock(nn.Module):
    """Patches of an image; EM attention where self-attention would be."""

    @nn.compact
    def __call__(self, images, *, train):
        x = nn.Conv(16, (4, 4), strides=4)(images)
        x = x.reshape(len(x), -1, 16)
        x = x + self.param("position", nn.initializers.normal(0.02), x.shape[1:])
        x = EMAU(num_bases=4, num_heads=2, gradient="last_step", bn_decay=0.9)(
            nn.LayerNorm()(x), train=train
        )
        x = x + nn.Dense(16)(nn.gelu(nn.Dense(32)(nn.LayerNorm()(x))))
        return nn.Dense(CLASSES)(x.mean(axis=1))


class Sequence(nn.Module):
    """Sequences of unlike lengths, padded: (B, N, C) with a mask."""

    @nn.compact
    def __call__(self, x, *, train):
        tokens, mask = x
        x = nn.relu(nn.Conv(16, (3,))(jnp.where(mask[..., None], tokens, 0)))
        x = EMAU(num_bases=4, gradient="unroll", bn_decay=0.9)(
            x, train=train, mask=mask
        )
        x = jnp.sum(jnp.where(mask[..., None], x, 0), axis=1)
        return nn.Dense(CLASSES)(x / mask.sum(axis=1, keepdims=True))


class Video(nn.Module):
    """(B, T, H, W, C): all frames share their bases."""

    @nn.compact
    def __call__(self, video, *, train):
        x = nn.relu(nn.Conv(16, (1, 3, 3), strides=(1, 2, 2))(video))
        x = EMAU(num_bases=4, bn_decay=0.9)(x, train=train)
        return nn.Dense(CLASSES)(x.mean(axis=(1, 2, 3)))


def images(rng: np.random.Generator, labels: np.ndarray):
    """Stripes whose direction and pace are those of the class."""
    grid = np.arange(16)
    wave = np.stack([np.sin(grid * pace) for pace in (0.5, 1.0, 2.0)])
    x = np.broadcast_to(wave[labels][:, :, None, None], (BATCH, 16, 16, 3))
    return (x + 0.1 * rng.standard_normal(x.shape)).astype(np.float32)


def sequences(rng: np.random.Generator, labels: np.ndarray):
    mask = np.arange(12) < rng.integers(3, 13, size=(BATCH, 1))
    x = 0.3 * rng.standard_normal((BATCH, 12, 5))
    x[np.arange(BATCH), :, labels] += 1
    return np.where(mask[..., None], x, np.nan).astype(np.float32), mask


def videos(rng: np.random.Generator, labels: np.ndarray):
    still = np.repeat(images(rng, labels)[:, None, ::2, ::2], 3, axis=1)
    return still + 0.1 * rng.standard_normal(still.shape).astype(np.float32)


def train(apply: Callable, variables, inputs, labels, num_steps: int):
    """Adam over one batch; the losses and the final variables."""
    optimizer = optax.adam(3e-2)
    state = jax.jit(optimizer.init)(variables["params"])

    @jax.jit
    def step(variables, state):
        def loss_fn(params):
            logits, updates = apply(
                variables | {"params": params},
                inputs,
                train=True,
                mutable=["batch_stats"],
            )
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return loss.mean(), updates

        grad = jax.value_and_grad(loss_fn, has_aux=True)
        (loss, updates), gradients = grad(variables["params"])
        change, state = optimizer.update(gradients, state)
        params = optax.apply_updates(variables["params"], change)
        return {"params": params, **updates}, state, loss

    losses = []
    for _ in range(num_steps):
        variables, state, loss = step(variables, state)
        losses.append(float(loss))
    return losses, variables


@pytest.mark.parametrize(
    ("model", "draw"),
    [(ViTBlock(), images), (Sequence(), sequences), (Video(), videos)],
    ids=["vit", "sequence", "video"],
)
def test_trains_in_a_model_of_another_kind(model, draw):
    rng = np.random.default_rng(0)
    labels = np.arange(BATCH) % CLASSES
    inputs = draw(rng, labels)
    start = model.init(jax.random.key(0), inputs, train=False)
    losses, end = train(model.apply, start, inputs, labels, num_steps=15)
    start, end = jax.device_get((start, end))
    assert losses[-1] < 0.5 * losses[0]
    bases = [tree["batch_stats"]["EMAU_0"]["bases"] for tree in (start, end)]
    assert np.abs(bases[1] - bases[0]).max() > 1e-3
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(end))


def test_nnx_model_trains_with_the_unit():
    """`nnx.bridge.ToNNX`: one step moves the weights, and the bases as Linen's own."""
    unit = EMAU(num_bases=4, bn_decay=0.9)
    x = np.random.default_rng(0).standard_normal((2, 6, 8)).astype(np.float32)

    class Net(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.unit = nnx.bridge.ToNNX(unit, rngs=rngs).lazy_init(x, train=False)
            self.classify = nnx.Linear(8, CLASSES, rngs=rngs)

        def __call__(self, x):
            return self.classify(self.unit(x, train=True, mutable=["batch_stats"]))

    net = Net(nnx.Rngs(0))
    before = jax.device_get(nnx.to_pure_dict(nnx.state(net))["unit"])
    optimizer = nnx.Optimizer(net, optax.sgd(0.1), wrt=nnx.Param)

    @nnx.jit
    def step(net, optimizer):
        loss, gradients = nnx.value_and_grad(lambda net: jnp.square(net(x)).mean())(net)
        optimizer.update(net, gradients)
        return loss

    losses = [float(step(net, optimizer))]
    after = jax.device_get(nnx.to_pure_dict(nnx.state(net))["unit"])
    losses.append(float(step(net, optimizer)))
    assert losses[1] < losses[0]
    assert np.any(after["conv2"]["kernel"] != before["conv2"]["kernel"])
    variables = {
        "params": {name: before[name] for name in ("conv1", "conv2")},
        "batch_stats": {"bases": before["bases"]},
    }
    variables["params"]["bn"] = {key: before["bn"][key] for key in ("scale", "bias")}
    variables["batch_stats"]["bn"] = {key: before["bn"][key] for key in ("mean", "var")}
    _, updates = unit.apply(variables, x, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(
        after["bases"], updates["batch_stats"]["bases"], atol=1e-5
    )
    assert np.any(after["bases"] != before["bases"])
