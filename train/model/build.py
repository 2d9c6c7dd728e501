"""The model that a config names."""

from typing import Any

import jax.numpy as jnp

from ema_jax import MODELS, Segmenter
from ema_jax.heads import PSAHead
from ema_jax.models import Network
from ema_jax.networks import covering_map
from ema_jax.segmenter import variable_shapes
from train.configuration.limits import check_known
from train.user.errors import UserError

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


ONLY_AT_START = ("pretrained", "drop_classifier", "allow_non_finite")
"""Fields of `config.model` that say where a training begins, not what the model is."""


def named_network(
    config: Any, num_classes: int, crop_size: tuple[int, int] | None = None
) -> Network:
    """The network of `config.model`; fields that are None keep the model's own value.

    Args:
        config: that section.
        num_classes: of the data set.
        crop_size: of the training, which PSANet's map covers unless a field sets it.

    Raises:
        UserError: an unknown model, type or option.
    """
    check_known("model.name", config.name, MODELS)
    check_known("model.dtype", config.dtype, DTYPES)
    network = network_of(config, num_classes)
    options = network.options
    try:
        model = network.build()
        variable_shapes(model)  # the modules check their options when called
    except (TypeError, ValueError) as error:
        named = str(error).partition("=")[0] in options
        raise UserError(f"config.model{'.' if named else ': '}{error}") from error
    if crop_size is not None and isinstance(model.head, PSAHead):
        side = covering_map(max(crop_size), model.backbone.output_stride)
        network = network._replace(options={"map_size": side, **options})
    return network


def network_of(config: Any, num_classes: int) -> Network:
    """The same, before it is known to be one that can be built."""
    options = {
        field: value
        for field, value in config.items()
        if value is not None and field not in ONLY_AT_START
    }
    return Network(options.pop("name"), num_classes, options)


def build_model(
    config: Any, num_classes: int, crop_size: tuple[int, int] | None = None
) -> Segmenter:
    """The model of `named_network`, which see."""
    return named_network(config, num_classes, crop_size).build()
