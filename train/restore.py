"""A trained network, as a workdir holds it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from ema_jax import Segmenter
from train.checkpoint import Checkpoints
from train.classes import Classes
from train.data.access import RandomAccess
from train.errors import UserError
from train.evaluate import make_predict_step, predict_images
from train.mesh import make_mesh, replicated
from train.model import build_model, frozen_parameters
from train.optimizer import make_optimizer
from train.state import TrainState, init_state


def build(
    config: ConfigDict, num_classes: int
) -> tuple[Segmenter, optax.GradientTransformation]:
    """The model and the optimiser of a config."""
    model = build_model(config.model, num_classes)
    optimizer = make_optimizer(
        config.optimizer, config.num_steps, frozen_parameters(model)
    )
    return model, optimizer


def abstract_state(
    model: Segmenter, optimizer: optax.GradientTransformation, mesh: Mesh
) -> TrainState:
    """Shapes, types and shardings of the state."""
    shapes = jax.eval_shape(lambda: init_state(model, optimizer, seed=0))

    def place(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=replicated(mesh))

    return jax.tree.map(place, shapes)


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network and what it was trained with."""

    model: Segmenter
    variables: dict[str, Any]
    classes: Classes
    config: ConfigDict
    mesh: Mesh
    step: int

    def predict(
        self, files: RandomAccess, sizes: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Index and mask (h, w) of each image; see `predict_images`."""
        return predict_images(
            make_predict_step(self.model, self.mesh),
            self.variables,
            files,
            sizes,
            self.mesh,
            batch_size=self.mesh.devices.size,
            canvas_multiple=self.config.evaluation.canvas_multiple,
        )


def load_trained(workdir: str, which: str = "best") -> Trained:
    """The network of a workdir's checkpoint: "best", "last" or a step.

    Raises:
        UserError: no such workdir or checkpoint.
    """
    if not Path(workdir).is_dir():
        raise UserError(f"--workdir={workdir} does not exist; train first")
    checkpoints = Checkpoints(workdir)
    try:
        step = checkpoints.find(which)
        config, described = checkpoints.describe(step)
        classes = Classes.from_json(described)
        model, optimizer = build(config, len(classes.names))
        mesh = make_mesh()
        state, _ = checkpoints.restore(step, abstract_state(model, optimizer, mesh))
    finally:
        checkpoints.close()
    return Trained(model, state.variables, classes, config, mesh, step)
