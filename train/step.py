"""One update of the state from one global batch."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import Mesh

from train.losses import PixelMean, segmentation_loss
from train.mesh import batch_sharding, replicated
from train.metrics import confusion_matrix
from train.preprocess import normalize_images
from train.state import TrainState, all_finite


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
    mesh: Mesh,
    *,
    auxiliary_weight: float = 0.4,
    pixel_mean: PixelMean = "all",
    ohem_threshold: float | None = None,
    ohem_min_kept: int = 0,
    skip_non_finite: bool = False,
    seed: int = 0,
) -> TrainStep:
    """Compile-once `(state, batch) -> (state, metrics)`; the old state is donated.

    The batch {"image", "label", "mask"} is split over the mesh and the state is the
    same on all devices. The program is that of the whole batch, so batch
    statistics, μ⁰ and gradients are global by construction.

    The loss of a model with an auxiliary head is `main + auxiliary_weight · auxiliary`,
    each as `segmentation_loss`; with a weight of zero that head is left out.

    With `skip_non_finite` an update that is not finite changes nothing but the number
    of steps made.
    """
    auxiliary = getattr(model, "auxiliary_head", None) is not None
    auxiliary = auxiliary and auxiliary_weight > 0
    loss_of = partial(
        segmentation_loss,
        pixel_mean=pixel_mean,
        ohem_threshold=ohem_threshold,
        ohem_min_kept=ohem_min_kept,
    )

    def train_step(
        state: TrainState, batch: dict[str, Array]
    ) -> tuple[TrainState, StepMetrics]:
        images = normalize_images(batch["image"], batch["mask"])
        dropout = jax.random.fold_in(jax.random.key(seed), state.step)

        def loss_fn(params: Any) -> tuple[Array, tuple[Array, Any]]:
            variables = {"params": params, "batch_stats": state.batch_stats}
            outputs, batch_stats = forward(
                model, variables, images, dropout, auxiliary=auxiliary
            )
            losses = [loss_of(logits, batch["label"]) for logits in outputs]
            loss = losses[0] + auxiliary_weight * sum(losses[1:])
            return loss, (outputs[0], batch_stats)

        value_and_grad = jax.value_and_grad(loss_fn, has_aux=True)
        (loss, (logits, batch_stats)), gradients = value_and_grad(state.params)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        norm = optax.tree.norm(gradients)
        after = TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            opt_state=opt_state,
        )
        skipped: Array | bool = False
        if skip_non_finite:
            skipped = ~(jnp.isfinite(loss) & jnp.isfinite(norm) & all_finite(after))
            after = after.unless(skipped, state)
        confusion = confusion_matrix(
            batch["label"], jnp.argmax(logits, axis=-1), logits.shape[-1]
        )
        return after, StepMetrics(loss, norm, confusion, jnp.asarray(skipped))

    everywhere = replicated(mesh)
    return jax.jit(
        train_step,
        in_shardings=(everywhere, batch_sharding(mesh)),
        out_shardings=everywhere,
        donate_argnums=0,
    )


def forward(
    model: nn.Module, variables: Any, images: Array, dropout: Array, *, auxiliary: bool
) -> tuple[tuple[Array, ...], Any]:
    """Logits in training, with `auxiliary` those of that head too, and statistics."""
    options: dict[str, Any] = {"auxiliary": True} if auxiliary else {}
    outputs, updates = model.apply(
        variables,
        images,
        train=True,
        mutable=["batch_stats"],
        rngs={"dropout": dropout},
        **options,
    )
    return outputs if auxiliary else (outputs,), updates["batch_stats"]
