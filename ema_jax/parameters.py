"""Layers of Flax that take the parameters which they are given as they are."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np


class Given(nn.Module):
    """A module that knows a parameter of the right shape when it sees it.

    To check a shape, Flax traces the initializer of each parameter at each call: that
    is a third of the time that it takes to trace a deep network.
    """

    @nn.nowrap
    def param(
        self, name: str, init_fn: Callable[..., Any], *init_args: Any, **options: Any
    ) -> Any:
        """That of Flax, which has the last word on all but an array so shaped."""
        if self.has_variable("params", name):
            value: Any = self.get_variable("params", name)
            plain = isinstance(value, jax.Array | np.ndarray)
            if plain and init_args and value.shape == init_args[0]:
                return value
        return super().param(name, init_fn, *init_args, **options)


class Conv(Given, nn.Conv):
    """`nn.Conv`."""


class Dense(Given, nn.Dense):
    """`nn.Dense`."""
