"""Networks for use alone: batch normalisation as a part of the convolutions."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
from flax import traverse_util
from jax import lax

from ema_jax.layers import ConvBN
from ema_jax.segmenter import initialize

Path = tuple[str, ...]


def fold_batch_norm(model: nn.Module, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Variables of the same network whose convolutions normalise what they give.

    `γ (W∗x - mean) / √(var + ε) + β = (s W)∗x + (β - s mean)`, `s = γ / √(var + ε)`:
    the logits are equal but for rounding. They serve `model.apply(…, train=False)`;
    there is nothing left to train.

    Args:
        model: the network.
        variables: {"params": …, "batch_stats": …} of it.

    Example:
        >>> from functools import partial
        >>> from ema_jax import MODELS
        >>> from ema_jax.segmenter import variable_shapes
        >>> model = MODELS["emanet_tiny"](num_classes=3)
        >>> fold = partial(fold_batch_norm, model)
        >>> folded = jax.eval_shape(fold, variable_shapes(model))
        >>> sorted(folded["params"]["head"]["reduce"]["conv"])
        ['bias', 'kernel']
    """
    params, statistics = (
        traverse_util.flatten_dict(variables.get(name, {}))
        for name in ("params", "batch_stats")
    )
    for path, epsilon in normalized_convolutions(model).items():
        mean, var = (statistics.pop((*path, "bn", name)) for name in ("mean", "var"))
        scale, bias = (params.pop((*path, "bn", name)) for name in ("scale", "bias"))
        slope = lax.rsqrt(var + epsilon) * scale
        params[*path, "conv", "kernel"] = params[*path, "conv", "kernel"] * slope
        params[*path, "conv", "bias"] = bias - mean * slope
    return {
        "params": traverse_util.unflatten_dict(params),
        "batch_stats": traverse_util.unflatten_dict(statistics),
    }


def normalized_convolutions(model: nn.Module) -> dict[Path, float]:
    """Where a network has a `ConvBN`, and the ε of each."""
    found: dict[Path, float] = {}

    def look(call: Any, arguments: Any, named: Any, context: Any) -> Any:
        if isinstance(context.module, ConvBN):
            found[context.module.path] = context.module.bn_epsilon
        return call(*arguments, **named)

    with nn.intercept_methods(look):
        jax.eval_shape(lambda: initialize(model, jax.random.key(0)))
    return found
