"""Weights of other projects: to start a training from, or to use as they are."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from ema_jax import Segmenter
from ema_jax.segmenter import variable_shapes
from ema_jax.weights import (
    Description,
    adapt_channels,
    check_finite,
    check_shapes,
    load_model,
)
from train.devices.mesh import DeviceMesh
from train.model import hub
from train.model.build import network_of
from train.model.published import PUBLISHED, provide
from train.user.errors import UserError

log = logging.getLogger("ema_jax")

RANDOM = "random"
IMAGENET = "imagenet"
OPTION = "config.model.pretrained="


def given_weights(config: ConfigDict) -> dict[str, Any] | None:
    """The weights that `pretrained` names; None for random ones.

    Args:
        config: the section of the model.

    Raises:
        UserError: nothing is named, or a file that cannot be fetched or read.
    """
    path = locate(config)
    return None if path is None else read_start(path, config)


def locate(config: ConfigDict) -> Path | None:
    """The file that `pretrained` names, fetched if need be; None for random weights.

    Args:
        config: the section of the model, one that can be built.

    Raises:
        UserError: nothing is named, or what cannot be fetched.
    """
    source = config.pretrained
    if not source:
        raise UserError(
            f"config.model.pretrained is not set; give a file of weights, {IMAGENET!r}"
            f" for those of the backbone, or {RANDOM!r} to start from random ones"
        )
    if source == RANDOM:
        return None
    try:
        if source == IMAGENET:
            path = provide(PUBLISHED[_published_name(config)])
        elif source.startswith(hub.PREFIX):
            path = hub.fetch(hub.named(source))
        else:
            return Path(source)
    except UserError as error:
        raise UserError(f"{OPTION}{source}: {error}") from error
    log.info("%s%s is %s", OPTION, source, path)
    return path


def _published_name(config: ConfigDict) -> str:
    """What the weights of the backbone are called; a UserError where none are known."""
    backbone = network_of(config, num_classes=2).build().backbone
    name = getattr(backbone, "imagenet_weights", None)
    if name not in PUBLISHED:
        raise UserError(
            f"no such weights are known for the backbone of {config.name}; give a "
            f"file, or {RANDOM!r}; main.py weights lists what is known"
        )
    return name


def read_start(path: Path, config: ConfigDict) -> dict[str, Any]:
    """The weights of a file, for images of the model's number of channels.

    Raises: as `read_model`.
    """
    allowed = config.allow_non_finite
    _, variables = read_model(str(path), OPTION, allow_non_finite=allowed)
    return adapt_channels(variables, config.in_channels or 3)


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
    return UserError(f"{OPTION}{config.pretrained}: {as_options(error)}")


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
        check_shapes(variables, variable_shapes(model), drop_classifier=None)
        if not allow_non_finite:
            check_finite(variables)
    except ValueError as error:
        raise UserError(f"--weights={path}: {as_options(error)}") from error
    return jax.device_put(dict(variables), mesh.everywhere)
