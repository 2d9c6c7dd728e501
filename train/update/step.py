"""One update of the state from one global batch."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax import Array

from train.devices.compiler import compiler_options
from train.devices.mesh import DeviceMesh
from train.update.accumulation import value_and_mean_gradient
from train.update.objective import Objective, make_objective
from train.update.state import TrainState, all_finite


@flax.struct.dataclass
class StepMetrics:
    """Figures of one step, scalars but for `confusion` (classes, classes)."""

    loss: Array
    gradient_norm: Array
    confusion: Array
    skipped: Array | bool = False
    """Whether the update was left out, as it is not finite."""


TrainStep = Callable[[TrainState, dict[str, Array]], tuple[TrainState, StepMetrics]]


def make_train_step(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    mesh: DeviceMesh,
    *,
    accumulation: int = 1,
    skip_non_finite: bool = False,
    seed: int = 0,
    placed: Any = None,
    space_to_batch: bool = False,
    **objective: Any,
) -> TrainStep:
    """Compile-once `(state, batch) -> (state, metrics)`; the old state is donated.

    The batch {"image", "label", "mask"} is split over the mesh. The program is that of
    the whole batch, so batch statistics, μ⁰ and gradients are global by construction,
    unless `accumulation` or `norm_groups` say otherwise.

    Args:
        model, optimizer: of the state.
        mesh: of state and batch.
        accumulation: pieces of the batch, one after the other; see
            `value_and_mean_gradient`.
        skip_non_finite: an update that is not finite changes nothing but the number
            of steps made.
        seed: of dropout.
        placed: sharding of each array of the state; None: replicated.
        space_to_batch: see `compiler_options`.
        **objective: options of `make_objective`.
    """
    loss_fn: Objective = make_objective(model, mesh, **objective)

    def train_step(
        state: TrainState, batch: dict[str, Array]
    ) -> tuple[TrainState, StepMetrics]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        (loss, seen), gradients = value_and_mean_gradient(
            loss_fn, state.params, state.batch_stats, batch, key, accumulation, mesh
        )
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        norm = optax.tree.norm(gradients)
        after = TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=seen.batch_stats,
            opt_state=opt_state,
        )
        skipped: Array | bool = False
        if skip_non_finite:
            skipped = ~(jnp.isfinite(loss) & jnp.isfinite(norm) & all_finite(after))
            after = after.unless(skipped, state)
        return after, StepMetrics(loss, norm, seen.confusion, jnp.asarray(skipped))

    everywhere = mesh.everywhere
    held = everywhere if placed is None else placed
    return jax.jit(
        train_step,
        in_shardings=(held, mesh.batch),
        out_shardings=(held, everywhere),
        donate_argnums=0,
        compiler_options=compiler_options(mesh, space_to_batch=space_to_batch),
    )
