"""The updates of a config: where they begin, and what each is."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import optax
from ml_collections import ConfigDict

from ema_jax import Segmenter
from train.devices.mesh import DeviceMesh
from train.update.class_weights import Weights
from train.update.losses import LOSSES
from train.update.optimizer import make_optimizer, make_schedule
from train.update.start import start_from
from train.update.state import TrainState, abstract_state, fresh_state
from train.update.step import TrainStep, make_train_step


class Updates(NamedTuple):
    """Of a training; nothing is compiled yet.

    Attributes:
        state: shapes, types and shardings.
        start: makes the state to begin with.
        step: one update.
        schedule: learning rate of each, one program.
    """

    state: TrainState
    start: Callable[[], TrainState]
    step: TrainStep
    schedule: optax.Schedule


def configured_updates(
    config: ConfigDict,
    model: Segmenter,
    mesh: DeviceMesh,
    num_steps: int,
    class_weights: Weights | None = None,
) -> Updates:
    """The updates of a config.

    Args:
        config: of the training.
        model: that it names.
        mesh: of state and batch.
        num_steps: updates of the whole training.
        class_weights: of the loss.
    """
    optimizer = make_optimizer(config.optimizer, num_steps, model)
    sharded = config.mesh.shard_optimizer
    state = abstract_state(model, optimizer, mesh, shard_optimizer=sharded)
    init = fresh_state(model, optimizer, config.seed, state)
    return Updates(
        state,
        partial(start_from, config.model, init),
        _configured_step(config, model, optimizer, mesh, state, class_weights),
        jax.jit(make_schedule(config.optimizer, num_steps)),
    )


def _configured_step(
    config: ConfigDict,
    model: Segmenter,
    optimizer: optax.GradientTransformation,
    mesh: DeviceMesh,
    state: TrainState,
    class_weights: Weights | None = None,
) -> TrainStep:
    """The training step of a config, for states that are placed as this one."""
    loss = config.loss
    return make_train_step(
        model,
        optimizer,
        mesh,
        accumulation=config.optimizer.accumulation,
        skip_non_finite=config.non_finite == "skip",
        seed=config.seed,
        placed=jax.tree.map(lambda leaf: leaf.sharding, state),
        space_to_batch=config.mesh.space_to_batch,
        auxiliary_weight=config.optimizer.auxiliary_weight,
        terms={n: getattr(loss, n) for n in LOSSES if getattr(loss, n) > 0},
        class_weights=class_weights,
        label_smoothing=loss.label_smoothing,
        gamma=loss.gamma,
        pixel_mean=config.optimizer.pixel_mean,
        ohem_threshold=config.optimizer.ohem_threshold,
        ohem_min_kept=config.optimizer.ohem_min_kept // config.optimizer.accumulation,
        norm_groups=config.optimizer.norm_groups,
        crop_rows=config.data.crop_size[0] if mesh.shape["space"] > 1 else None,
    )
