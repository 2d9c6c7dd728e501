"""Stochastic gradient descent with the parameter groups of the published recipe."""

from collections.abc import Sequence
from typing import Any

import jax
import optax

from ema_jax import Segmenter
from ema_jax.emau import FROZEN_BY_STOP
from ema_jax.networks import find_em_unit

Params = Any


def poly_schedule(
    learning_rate: float, num_steps: int, *, power: float = 0.9, hold_steps: int = 1
) -> optax.Schedule:
    """`lr_i = lr · (1 - i/num_steps)^power` for step i, counted from one.

    With `hold_steps` the rate changes only at steps that it divides, as the released
    code does with ten: `i` is rounded down to a multiple of `hold_steps`.

    Example:
        >>> schedule = poly_schedule(1.0, 4, power=1.0, hold_steps=2)
        >>> [float(schedule(count)) for count in range(4)]  # steps 1 to 4
        [1.0, 0.5, 0.5, 0.0]
    """

    def schedule(count):
        step = (count + 1) // hold_steps * hold_steps
        return learning_rate * (1 - step / num_steps).clip(0) ** power

    return lambda count: schedule(jax.numpy.asarray(count))


def parameter_group(path: tuple[str, ...], frozen: Sequence[tuple[str, ...]]) -> str:
    """The group of a parameter: "frozen", "bias", "scale" or "weight".

    Args:
        path: keys of the parameter.
        frozen: prefixes of the paths that do not train.

    Example:
        >>> parameter_group(("head", "classifier", "bias"), frozen=[])
        'bias'
    """
    if any(path[: len(prefix)] == tuple(prefix) for prefix in frozen):
        return "frozen"
    return {"bias": "bias", "scale": "scale"}.get(path[-1], "weight")


def sgd(
    schedule: optax.Schedule,
    *,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    bias_rate: float = 2.0,
    backbone_rate: float = 1.0,
    frozen: Sequence[tuple[str, ...]] = (),
) -> optax.GradientTransformation:
    """SGD as PyTorch's: `b ← m·b + (g + d·p)`, `p ← p - lr·b`, no Nesterov.

    Weights have decay d; scales of batch normalisation have none; biases have none
    and `bias_rate` times the rate; all of the backbone has `backbone_rate` times that.

    Args:
        schedule: learning rate of each step.
        momentum: m.
        weight_decay: d of the weights.
        bias_rate: factor on the rate of all biases.
        backbone_rate: factor on the rates of the backbone; 0 leaves it as it is.
        frozen: prefixes of paths that get neither gradient, decay nor momentum.
    """

    def group(decay: float, rate: float) -> optax.GradientTransformation:
        return optax.chain(
            optax.add_decayed_weights(decay),
            optax.trace(momentum),
            optax.scale_by_learning_rate(lambda count: rate * schedule(count)),
        )

    def labels(params: Params) -> Params:
        def label(path: tuple, _: jax.Array) -> str:
            return parameter_group(tuple(entry.key for entry in path), frozen)

        return jax.tree_util.tree_map_with_path(label, params)

    groups = {
        "weight": group(weight_decay, 1.0),
        "scale": group(0.0, 1.0),
        "bias": group(0.0, bias_rate),
        "frozen": optax.set_to_zero(),
    }
    return with_backbone_rate(optax.partition(groups, labels), backbone_rate)


def with_backbone_rate(
    optimizer: optax.GradientTransformation, rate: float
) -> optax.GradientTransformation:
    """An optimiser whose updates of the backbone are `rate` times as large.

    Its state is the same at every rate, so that a training may go on at another.
    """

    def scale(path: tuple, update: jax.Array) -> jax.Array:
        return rate * update if path[0].key == "backbone" else update

    def update(
        gradients: Params, state: optax.OptState, params: Params | None = None
    ) -> tuple[Params, optax.OptState]:
        updates, state = optimizer.update(gradients, state, params)
        return jax.tree_util.tree_map_with_path(scale, updates), state

    return optax.GradientTransformation(optimizer.init, update)


def frozen_parameters(model: Segmenter) -> list[tuple[str, ...]]:
    """Paths of the parameters that get no gradient and must not decay."""
    unit = find_em_unit(model)
    if unit is not None and unit.gradient == "stop":
        return [("head", "context", name) for name in FROZEN_BY_STOP]
    return []


def make_optimizer(
    config: Any, num_steps: int, model: Segmenter
) -> optax.GradientTransformation:
    """The optimiser of `config.optimizer` for a training of `num_steps`."""
    schedule = make_schedule(config, num_steps)
    return sgd(
        schedule,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        bias_rate=config.bias_rate,
        # that a checkpoint's config may be too old to have
        backbone_rate=getattr(config, "backbone_rate", 1.0),
        frozen=frozen_parameters(model),
    )


def make_schedule(config: Any, num_steps: int) -> optax.Schedule:
    """The learning rate of `config.optimizer`."""
    return poly_schedule(
        config.learning_rate,
        num_steps,
        power=config.power,
        hold_steps=config.hold_steps,
    )
