"""Programs made of operations that other formats have."""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import jax
from jax import Array, lax
from jax.extend.core import jaxpr_as_fun

from ema_jax.operation import Operation


def plain(
    program: Callable[[Array], Any], images: jax.ShapeDtypeStruct
) -> Callable[[Array], list[Array]]:
    """A program as its operations, which do the same on all platforms, in no loop.

    The converters know no operation that depends on the platform, and LiteRT's writes
    no loop.

    Args:
        program: of images, to any tree of arrays.
        images: their shape and type.

    Returns:
        The same of images of that shape, to the leaves of the tree.

    Example:
        >>> def cubed(x):
        ...     return lax.fori_loop(0, 2, lambda _, y: x * y, x)
        >>> call = plain(cubed, jax.ShapeDtypeStruct((), "float32"))
        >>> jaxpr = jax.make_jaxpr(call)(2.0)
        >>> [equation.primitive.name for equation in jaxpr.eqns]
        ['mul', 'mul']
    """
    with (
        patch.object(Operation, "__call__", Operation.elsewhere),
        patch.object(lax, "fori_loop", _unrolled),
    ):
        # A function that JAX has not seen: it would remember what it traced before.
        jaxpr = jax.make_jaxpr(lambda images: program(images))(images)
    return jaxpr_as_fun(jaxpr)


def _unrolled(first: int, end: int, body: Callable[..., Any], state: Any) -> Any:
    for index in range(first, end):
        state = body(index, state)
    return state
