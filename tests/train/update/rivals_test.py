"""EMANet and every rival learn on the embedded data set."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors.numpy import save_file

from configs import default
from ema_jax import MODELS
from ema_jax.weights import export_state_dict
from tests.micro import ThreeConvolutions
from tests.quick import compiled, run
from train.data.shapes import CLASS_NAMES, scene
from train.devices.mesh import make_mesh, to_devices
from train.model.build import build_model
from train.model.convert import backbone_of
from train.update.optimizer import frozen_parameters, sgd
from train.update.start import start_from
from train.update.state import TrainState, init_state
from train.update.step import make_train_step

TINY = [name for name in MODELS if name.endswith("_tiny")]
UNFELT = ("head", "context", "key", "bias")
"""It adds the same to all logits of a pixel, which a softmax does not feel."""
STEPS = 6
SIZE = 33


def tiny(name: str):
    fields = default.model()
    fields.update({"name": name, "dropout_rate": 0.0})
    return build_model(fields, len(CLASS_NAMES))


def small(name: str):
    """EMANet with its ResNet; the others on three convolutions."""
    model = tiny(name)
    if name == "emanet_tiny":
        return model
    return model.clone(backbone=ThreeConvolutions(0.9, every_stage=True))


def make_batch() -> dict:
    """Corners of four scenes at half their resolution."""
    images, labels = zip(*(scene(seed) for seed in range(4)), strict=True)
    window = slice(None, 2 * SIZE, 2)
    return {
        "image": np.stack([image[window, window] for image in images]),
        "label": np.stack([label[window, window] for label in labels]),
        "mask": np.ones((4, SIZE, SIZE), bool),
    }


@pytest.mark.parametrize("name", TINY)
def test_the_loss_falls_and_every_parameter_learns(name):
    model = small(name)
    frozen = frozen_parameters(model)
    optimizer = sgd(lambda count: 0.05, weight_decay=0.0, frozen=frozen)
    mesh = make_mesh(jax.devices()[:1])
    state = run(lambda: init_state(model, optimizer, seed=0))
    before = flatten_dict(jax.tree.map(np.array, state.params))  # the step donates them
    batch = to_devices(make_batch(), mesh.batch)
    step = make_train_step(model, optimizer, mesh, pixel_mean="valid")
    step = compiled(step, state, batch)
    losses = []
    for _ in range(STEPS):
        state, metrics = step(state, batch)
        losses.append(float(metrics.loss))
    assert losses[-1] < 0.6 * losses[0]
    after = flatten_dict(jax.device_get(state.params))
    same = {path for path in before if np.array_equal(before[path], after[path])}
    assert same - {UNFELT} == {path for path in before if path[:3] in frozen}


def test_a_rival_starts_from_the_backbone_of_a_file(tmp_path):
    """A ResNet with a deep stem, as ImageNet's; the head stays as it was."""
    model = tiny("psanet_tiny")
    shapes = jax.eval_shape(
        lambda: model.init(
            jax.random.key(0), jnp.zeros((1, SIZE, SIZE, 3)), train=False
        )
    )
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)
    ones = jax.tree.map(np.ones_like, zeros)
    backbone = export_state_dict(backbone_of(ones))
    save_file(backbone, tmp_path / "resnet.safetensors")

    config = default.get_config()
    config.model.pretrained = str(tmp_path / "resnet.safetensors")
    state = start_from(
        config.model,
        lambda: jax.device_put(TrainState(jnp.zeros(()), opt_state=(), **zeros)),
    )
    for tree in jax.device_get((state.params, state.batch_stats)):
        assert all(np.all(leaf == 1) for leaf in jax.tree.leaves(tree["backbone"]))
        assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(tree["head"]))
