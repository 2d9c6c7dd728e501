"""A trained network, as a workdir holds it."""

from collections.abc import Iterator, Sequence
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
from train.config import apply_override
from train.data.access import RandomAccess
from train.errors import UserError
from train.evaluate import make_predict_step, predict_images, predict_options
from train.limits import check_limits
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
            make_predict_step(
                self.model,
                self.mesh,
                **predict_options(
                    self.config.evaluation, self.model.backbone.output_stride
                ),
            ),
            self.variables,
            files,
            sizes,
            self.mesh,
            batch_size=self.mesh.devices.size,
            canvas_multiple=self.config.evaluation.canvas_multiple,
        )


def load_trained(
    workdir: str, which: str = "best", overrides: Sequence[str] = ()
) -> Trained:
    """The network of a workdir's checkpoint: "best", "last" or a step.

    Args:
        workdir: of the training.
        which: checkpoint.
        overrides: `--config.section.field=value` each, of the config it was made with.

    Raises:
        UserError: no such workdir or checkpoint, or a mistake in an override.
    """
    if not Path(workdir).is_dir():
        raise UserError(f"--workdir={workdir} does not exist; train first")
    if not (Path(workdir) / "checkpoints").is_dir():
        raise UserError(f"--workdir={workdir} has no checkpoint; train first")
    checkpoints = Checkpoints(workdir)
    try:
        step = checkpoints.find(which)
        config, described = checkpoints.describe(step)
        if overrides:
            config = config.copy_and_resolve_references().unlock()
            for override in overrides:
                apply_override(config, override)
            check_limits(config.lock())
        classes = Classes.from_json(described)
        model, optimizer = build(config, len(classes.names))
        mesh = make_mesh()
        state, _ = checkpoints.restore(step, abstract_state(model, optimizer, mesh))
    finally:
        checkpoints.close()
    return Trained(model, state.variables, classes, config, mesh, step)
