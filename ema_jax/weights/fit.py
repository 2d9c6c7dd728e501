"""Converted variables in a model that already has its own."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from ema_jax.weights.architecture import is_backbone
from ema_jax.weights.describe import describe, few

Path = tuple[str, ...]
CLASSIFIERS = frozenset(("classifier", "coarse_classifier"))
"""The modules whose shape depends on the number of classes."""


def check_shapes(
    variables: Mapping[str, Any],
    model_variables: Mapping[str, Any],
    *,
    drop_classifier: bool | None = False,
) -> None:
    """Raise unless variables are those of a model, leaf by leaf.

    Args:
        variables: such as `load_torch` returns. A backbone alone is compared with the
            model's backbone.
        model_variables: the model's own, or their shapes from `jax.eval_shape`.
        drop_classifier: leave the classifiers out, whose shape depends on the number
            of classes; None: they are needed, and leaving them out is no advice.

    Raises:
        ValueError: leaves that are missing, that the model does not have or that have
            another shape; the message says whose the weights are, and names the first.

    Example:
        >>> check_shapes(
        ...     {"params": {"backbone": {"scale": np.ones(3)}}},
        ...     {"params": {"backbone": {"scale": np.ones(4)}}},
        ... )
        Traceback (most recent call last):
        ValueError: the weights do not fit the model; of another shape: \
params/backbone/scale (3,), not (4,)
    """
    given = _leaves(variables, drop_classifier)
    wanted = _leaves(model_variables, drop_classifier)
    if is_backbone(variables):
        wanted = {path: x for path, x in wanted.items() if path[1] == "backbone"}
    wrong = {
        path: f" {np.shape(given[path])}, not {np.shape(wanted[path])}"
        for path in given.keys() & wanted.keys()
        if np.shape(given[path]) != np.shape(wanted[path])
    }
    problems = {
        "missing": dict.fromkeys(wanted.keys() - given.keys(), ""),
        "not in the model": dict.fromkeys(given.keys() - wanted.keys(), ""),
        "of another shape": wrong,
    }
    found = [f"{what}: {_join(x)}" for what, x in problems.items() if x]
    if not found:
        return
    if drop_classifier is not None and not any(
        map(CLASSIFIERS.isdisjoint, chain(*problems.values()))
    ):
        found.append("drop_classifier=True keeps the model's own classifier")
    whose, wanted_for = describe(variables), describe(model_variables)
    if whose != wanted_for:
        found.insert(0, f"they are of {whose}, and the model is {wanted_for}")
    raise ValueError(f"the weights do not fit the model; {'; '.join(found)}")


def fit_variables(
    variables: Mapping[str, Any],
    model_variables: Mapping[str, Any],
    *,
    drop_classifier: bool = False,
) -> dict[str, Any]:
    """The model's variables with the given ones in their place.

    A backbone alone leaves the model its head, `drop_classifier` its classifiers.
    Arguments and errors are those of `check_shapes`.

    Example:
        >>> model = {"params": {"backbone": {"w": 0}, "head": {"w": 0}}}
        >>> fit_variables({"params": {"backbone": {"w": 1}}}, model)
        {'params': {'backbone': {'w': 1}, 'head': {'w': 0}}}
    """
    check_shapes(variables, model_variables, drop_classifier=drop_classifier)
    given = _leaves(variables, drop_classifier)
    return unflatten_dict(flatten_dict(model_variables) | given)


def _leaves(
    variables: Mapping[str, Any], drop_classifier: bool | None
) -> dict[Path, Any]:
    leaves = flatten_dict(variables)
    if not drop_classifier:
        return leaves
    return {path: x for path, x in leaves.items() if CLASSIFIERS.isdisjoint(path)}


def _join(problems: Mapping[Path, str]) -> str:
    return few("/".join(path) + problems[path] for path in sorted(problems))
