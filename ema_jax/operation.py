"""Operations that each platform compiles in its own way.

`lax.platform_dependent` keeps all ways in the program until it is compiled, and
differentiates each. The forward pass may then hand its choice to the backward one, and
over several devices a branch stays in the program, in which collectives have no order.
Here a program holds one operation, whose derivatives are such operations too, and the
platform for which it is compiled says what it becomes.
"""

from collections.abc import Callable, Hashable, Mapping
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.core import AbstractValue
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Primitive
from jax.interpreters import ad, batching, mlir

Static = tuple[Hashable, ...]
"""Arguments that are known when a program is made."""

Lanes = tuple[tuple[int | None, ...], ...]
"""Of each `jax.vmap`, the inner before the outer, the axis of each operand."""

_OPERATIONS: dict[Primitive, "Operation"] = {}


class Operation:
    """A function of arrays, `(*operands, *static) -> Array`.

    Args:
        name: of it, in programs.
        cpu: what computes it on CPUs.
        default: what does elsewhere.
        transposes: of each operand in which it is linear, by its position, a function
            `(cotangent, *others, *static)` to the cotangent of that operand. In the
            other operands it is constant almost everywhere.
        differentiated: what computes it on CPUs where its derivatives are asked for, if
            that shares work with them; None: `cpu` does there too.

    Example:
        >>> def scaled(x, factor):
        ...     return factor * x
        >>> scale = Operation("scale", scaled, scaled, {0: scaled})
        >>> jax.grad(lambda x: scale(x, static=(3.0,)) ** 2)(2.0)
        Array(36., dtype=float32, weak_type=True)
    """

    def __init__(
        self,
        name: str,
        cpu: Callable[..., Array],
        default: Callable[..., Array],
        transposes: Mapping[int, Callable[..., Array]] | None = None,
        differentiated: Callable[..., Array] | None = None,
    ) -> None:
        self.default = default
        self.transposes = transposes or {}
        self.differentiated = self
        if differentiated is not None:
            self.differentiated = Operation(name, differentiated, default, transposes)
        self.primitive = Primitive(name)
        _OPERATIONS[self.primitive] = self
        compiled = jax.jit(self.primitive.bind, static_argnames=("static", "lanes"))

        def run(*operands: Array, **how: Any) -> Array:
            with jax.disable_jit(False):  # or `compiled` would come back here
                return compiled(*operands, **how)

        self.primitive.def_impl(run)
        self.primitive.def_abstract_eval(partial(_kind, default))
        ad.primitive_jvps[self.primitive] = self._jvp
        ad.primitive_transposes[self.primitive] = self._transpose
        batching.primitive_batchers[self.primitive] = self._batch
        once = jax.jit(partial(_call, cpu), static_argnames=("static", "lanes"))
        for function, platform in ((once, "cpu"), (partial(_call, default), None)):
            rule = mlir.lower_fun(function, multiple_results=False)
            mlir.register_lowering(self.primitive, rule, platform=platform)

    def __call__(self, *operands: Array, static: Static = ()) -> Array:
        return self.primitive.bind(*operands, static=static, lanes=())

    def elsewhere(self, *operands: Array, static: Static = ()) -> Array:
        """What it is but on CPUs, on any platform."""
        return self.default(*operands, *static)

    def _jvp(
        self, operands: tuple[Array, ...], tangents: tuple[Any, ...], **how: Any
    ) -> tuple[Array, Array]:
        bind = self.differentiated.primitive.bind
        found = bind(*operands, **how)
        parts = [
            bind(*operands[:i], tangents[i], *operands[i + 1 :], **how)
            for i in self.transposes
            if type(tangents[i]) is not ad.Zero
        ]
        return found, sum(parts[1:], parts[0]) if parts else jnp.zeros_like(found)

    def _transpose(
        self, cotangent: Any, *operands: Any, static: Static, lanes: Lanes
    ) -> list[Any]:
        [wanted] = (i for i in self.transposes if ad.is_undefined_primal(operands[i]))
        found: list[Any] = [None] * len(operands)
        if type(cotangent) is not ad.Zero:
            rule = self.transposes[wanted]

            def pull(*arrays: Array) -> Array:
                return rule(*arrays, *static)

            for axes in lanes:
                pull = jax.vmap(pull, (0, *_without(axes, wanted)))
                if axes[wanted] is None:
                    pull = _summed(pull)
            found[wanted] = pull(cotangent, *_without(operands, wanted))
        return found

    def _batch(
        self,
        operands: tuple[Array, ...],
        axes: tuple[int | None, ...],
        *,
        static: Static,
        lanes: Lanes,
    ) -> tuple[Array, int]:
        leading = (
            operand if axis is None else jnp.moveaxis(operand, axis, 0)
            for operand, axis in zip(operands, axes, strict=True)
        )
        lane = tuple(None if axis is None else 0 for axis in axes)
        lanes = (*lanes, lane)
        return self.primitive.bind(*leading, static=static, lanes=lanes), 0


def default_of(equation: JaxprEqn) -> Jaxpr | None:
    """What the operation of an equation is but on CPUs; None if it is no such one."""
    operation = _OPERATIONS.get(equation.primitive)
    if operation is None:
        return None
    kinds = (atom.aval for atom in equation.invars)
    return _traced(operation.default, *kinds, **equation.params).jaxpr


def _traced(
    function: Callable[..., Array], *operands: AbstractValue, **how: Any
) -> ClosedJaxpr:
    return jax.make_jaxpr(partial(_call, function, **how))(*operands)


def _call(
    function: Callable[..., Array], *operands: Array, static: Static, lanes: Lanes
) -> Array:
    def call(*arrays: Array) -> Array:
        return function(*arrays, *static)

    for axes in lanes:
        call = jax.vmap(call, axes)
    return call(*operands)


@lru_cache(maxsize=1024)
def _kind(
    function: Callable[..., Array], *operands: AbstractValue, **how: Any
) -> AbstractValue:
    """The type of what it returns: shape, and how that lies on a mesh."""
    [found] = _traced(function, *operands, **how).out_avals
    return found


def _summed(function: Callable[..., Array]) -> Callable[..., Array]:
    return lambda *arrays: jnp.sum(function(*arrays), 0)


def _without(values: tuple[Any, ...], position: int) -> tuple[Any, ...]:
    return *values[:position], *values[position + 1 :]
