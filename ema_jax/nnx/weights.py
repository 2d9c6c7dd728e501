"""Variables of Linen into modules of NNX with the same names, and back."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict

COLLECTIONS = {"params": nnx.Param, "batch_stats": nnx.BatchStat}
"""Collection of Linen to the type of variable."""


def to_linen(module: nnx.Module) -> dict[str, Any]:
    """`{"params": …, "batch_stats": …}` as a module of Linen has them.

    Example:
        >>> from ema_jax.nnx import EMAU
        >>> unit = EMAU(8, num_bases=4, rngs=nnx.Rngs(0))
        >>> jax.tree.map(jnp.shape, to_linen(unit))["batch_stats"]["bases"]
        (4, 8)
    """
    return {
        name: nnx.to_pure_dict(nnx.state(module, kind))
        for name, kind in COLLECTIONS.items()
    }


def from_linen(module: nnx.Module, variables: Mapping[str, Any]) -> None:
    """Give a module the variables of one of Linen with the same names.

    Raises:
        ValueError: names or shapes differ; the module stays as it was.

    Example:
        >>> from ema_jax import EMAU
        >>> from ema_jax import nnx as ema_nnx
        >>> x = jax.random.normal(jax.random.key(0), (1, 5, 5, 8))
        >>> linen = EMAU(num_bases=4)
        >>> variables = linen.init(jax.random.key(1), x, train=False)
        >>> unit = ema_nnx.EMAU(8, num_bases=4, rngs=nnx.Rngs(0))
        >>> from_linen(unit, variables)
        >>> y = unit(x, use_running_average=True)
        >>> bool(jnp.allclose(y, linen.apply(variables, x, train=False)))
        True
    """
    own = flatten_dict(to_linen(module))
    given = {
        path: value
        for path, value in flatten_dict(variables).items()
        if path[0] in COLLECTIONS
    }
    problems = [f"missing {_name(path)}" for path in sorted(own.keys() - given.keys())]
    problems += [f"unknown {_name(path)}" for path in sorted(given.keys() - own.keys())]
    problems += [
        f"{_name(path)} {jnp.shape(given[path])}, not {jnp.shape(own[path])}"
        for path in sorted(own.keys() & given.keys())
        if jnp.shape(given[path]) != jnp.shape(own[path])
    ]
    if problems:
        raise ValueError(f"the variables do not fit the module: {'; '.join(problems)}")
    tree = unflatten_dict(given)
    for name, kind in COLLECTIONS.items():
        state = nnx.state(module, kind)
        nnx.replace_by_pure_dict(state, jax.tree.map(jnp.asarray, tree.get(name, {})))
        nnx.update(module, state)


def _name(path: tuple[Any, ...]) -> str:
    return "/".join(map(str, path))
