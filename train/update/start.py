"""The state that a training begins with."""

import dataclasses
import logging
from collections.abc import Callable

import jax
from ml_collections import ConfigDict

from ema_jax.weights import fit_variables
from train.model.pretrained import given_weights, misfit
from train.update.state import TrainState
from train.user.errors import UserError

log = logging.getLogger("ema_jax")


def start_from(config: ConfigDict, init: Callable[[], TrainState]) -> TrainState:
    """A fresh state, with the weights that `pretrained` names.

    They are read before `init` compiles anything.

    Args:
        config: the section of the model.
        init: makes a fresh state, once it is called.

    Raises:
        UserError: nothing is named, or a file that cannot be read or does not fit; or
            statistics that are to be kept, where there are none.
    """
    weights = given_weights(config)
    if weights is None and config.freeze_bn:
        raise UserError(
            "config.model.freeze_bn=True keeps statistics that random weights do not "
            "have; give config.model.pretrained, or config.model.freeze_bn=false"
        )
    if weights is None:
        log.info("starting from random weights, as config.model.pretrained says")
        return init()
    log.info("starting from the weights of %s", config.pretrained)
    state = init()
    try:
        variables = fit_variables(
            weights, state.variables, drop_classifier=config.drop_classifier
        )
    except ValueError as error:
        raise misfit(config, error) from error
    placed = jax.tree.map(lambda leaf: leaf.sharding, state.variables)
    variables = jax.device_put(variables, placed)
    return dataclasses.replace(
        state, params=variables["params"], batch_stats=variables["batch_stats"]
    )
