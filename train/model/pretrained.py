"""Weights of other projects: to start a training from, or to use as they are."""

from collections.abc import Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from ema_jax import Segmenter
from ema_jax.segmenter import variable_shapes
from ema_jax.weights import Description, check_finite, check_shapes, load_model
from train.devices.mesh import DeviceMesh
from train.user.errors import UserError

RANDOM = "random"


def given_weights(config: ConfigDict) -> dict[str, Any] | None:
    """The weights that `pretrained` names; None for random ones.

    Args:
        config: the section of the model.

    Raises:
        UserError: nothing is named, or a file that cannot be read.
    """
    source = config.pretrained
    if not source:
        raise UserError(
            "config.model.pretrained is not set; give a file of weights, or "
            f"{RANDOM!r} to start from random ones"
        )
    if source == RANDOM:
        return None
    option = "config.model.pretrained="
    return read_model(source, option, allow_non_finite=config.allow_non_finite)[1]


def check_fit(
    weights: Mapping[str, Any], variables: Mapping[str, Any], config: ConfigDict
) -> None:
    """Raise a UserError unless a network's variables can start from weights.

    Args:
        weights: that `config` names.
        variables: of the network, or their shapes.
        config: the section of the model.
    """
    try:
        check_shapes(weights, variables, drop_classifier=config.drop_classifier)
    except ValueError as error:
        raise misfit(config, error) from error


def misfit(config: ConfigDict, error: ValueError) -> UserError:
    """What to say of weights that are not of the network that is to start from them."""
    return UserError(
        f"config.model.pretrained={config.pretrained}: {as_options(error)}"
    )


def read_model(
    path: str, option: str = "", *, allow_non_finite: bool = False
) -> tuple[Description | None, dict[str, Any]]:
    """What a file says of its network, if it does, and the variables of that.

    Args:
        path: the file.
        option: by which the user named it, with its "=".
        allow_non_finite: take weights with NaN or infinity as they are.

    Raises:
        UserError: a file that cannot be read, is not of a known family, or holds
            weights that are not finite.
    """
    try:
        return load_model(path, allow_non_finite=allow_non_finite)
    except OSError as error:
        raise UserError(f"{option}{path}: cannot be read ({error.strerror})") from error
    except (ImportError, ValueError) as error:
        raise UserError(f"{option}{as_options(error)}") from error


def as_options(error: Exception) -> str:
    """The message of the library, whose arguments are fields of the config here."""
    text = str(error)
    for name in ("drop_classifier", "allow_non_finite"):
        text = text.replace(f"{name}=True", f"--config.model.{name}=true")
    return text


def place_weights(
    variables: Mapping[str, Any],
    model: Segmenter,
    mesh: DeviceMesh,
    path: str,
    *,
    allow_non_finite: bool = False,
) -> dict[str, Any]:
    """Foreign variables on the devices, once they are known to be the model's.

    Raises:
        UserError: another depth, width or stem, or weights that are not finite.
    """
    try:
        check_shapes(variables, variable_shapes(model))
        if not allow_non_finite:
            check_finite(variables)
    except ValueError as error:
        raise UserError(f"--weights={path}: {as_options(error)}") from error
    return jax.device_put(dict(variables), mesh.everywhere)
