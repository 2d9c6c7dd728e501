"""Weights rewritten as one safe file."""

from collections.abc import Mapping
from typing import Any

import jax

from ema_jax.weights import Description, save_model
from train.user.errors import UserError


def backbone_of(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The backbone of a network's variables, without its heads.

    Example:
        >>> backbone_of({"params": {"backbone": {"w": 1}, "head": {"w": 2}}})
        {'params': {'backbone': {'w': 1}}}
    """
    return {kind: {"backbone": tree["backbone"]} for kind, tree in variables.items()}


def save_weights(
    variables: Mapping[str, Any],
    output: str,
    description: Description | None = None,
    *,
    half: bool = False,
) -> str:
    """`ema_jax.weights.save_model`, whose errors are a user's.

    Returns:
        One line that says what was written.
    """
    try:
        arrays = save_model(output, variables, description, half=half)
    except ValueError as error:
        raise UserError(str(error)) from error
    except OSError as error:
        raise UserError(f"{output} cannot be written ({error.strerror})") from error
    count = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    return f"{output}: {arrays} arrays, {count / 1e6:.2f} M parameters"
