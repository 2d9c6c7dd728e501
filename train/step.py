"""One update of the state from one global batch."""

from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import Mesh

from ema_jax import Segmenter
from train.losses import PixelMean, segmentation_loss
from train.mesh import batch_sharding, replicated
from train.metrics import confusion_matrix
from train.preprocess import normalize_images
from train.state import TrainState


@flax.struct.dataclass
class StepMetrics:
    """Figures of one step, scalars but for `confusion` (classes, classes)."""

    loss: Array
    gradient_norm: Array
    confusion: Array


TrainStep = Callable[[TrainState, dict[str, Array]], tuple[TrainState, StepMetrics]]


def make_train_step(
    model: Segmenter,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    *,
    auxiliary_weight: float = 0.4,
    pixel_mean: PixelMean = "all",
    ohem_threshold: float | None = None,
    ohem_min_kept: int = 0,
    seed: int = 0,
) -> TrainStep:
    """Compile-once `(state, batch) -> (state, metrics)`; the old state is donated.

    The batch {"image", "label", "mask"} is split over the mesh and the state is the
    same on all devices. The program is that of the whole batch, so batch
    statistics, μ⁰ and gradients are global by construction.

    The loss of a model with an auxiliary head is `main + auxiliary_weight · auxiliary`,
    each as `segmentation_loss`; with a weight of zero that head is left out.
    """
    auxiliary = model.auxiliary_head is not None and auxiliary_weight > 0

    def total_loss(outputs: tuple[Array, ...], labels: Array) -> Array:
        losses = [
            segmentation_loss(
                logits,
                labels,
                pixel_mean=pixel_mean,
                ohem_threshold=ohem_threshold,
                ohem_min_kept=ohem_min_kept,
            )
            for logits in outputs
        ]
        return losses[0] + auxiliary_weight * sum(losses[1:])

    def train_step(
        state: TrainState, batch: dict[str, Array]
    ) -> tuple[TrainState, StepMetrics]:
        images = normalize_images(batch["image"], batch["mask"])
        dropout = jax.random.fold_in(jax.random.key(seed), state.step)

        def loss_fn(params: Any) -> tuple[Array, tuple[Array, Any]]:
            outputs, updates = model.apply(
                {"params": params, "batch_stats": state.batch_stats},
                images,
                train=True,
                auxiliary=auxiliary,
                mutable=["batch_stats"],
                rngs={"dropout": dropout},
            )
            outputs = outputs if auxiliary else (outputs,)
            loss = total_loss(outputs, batch["label"])
            return loss, (outputs[0], updates["batch_stats"])

        value_and_grad = jax.value_and_grad(loss_fn, has_aux=True)
        (loss, (logits, batch_stats)), gradients = value_and_grad(state.params)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        state = TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            opt_state=opt_state,
        )
        confusion = confusion_matrix(
            batch["label"], jnp.argmax(logits, axis=-1), logits.shape[-1]
        )
        return state, StepMetrics(loss, optax.tree.norm(gradients), confusion)

    everywhere = replicated(mesh)
    return jax.jit(
        train_step,
        in_shardings=(everywhere, batch_sharding(mesh)),
        out_shardings=everywhere,
        donate_argnums=0,
    )
