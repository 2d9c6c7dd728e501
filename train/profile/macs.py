"""Multiply-adds of a function, counted from its jaxpr: nothing runs."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from ema_jax.operation import default_of


class Contraction(NamedTuple):
    """One matrix product or convolution.

    Attributes:
        path: scopes that it lies in, from the outside: modules of flax by name.
        multiply_adds: of all its runs, in a loop of known length.
        fixed: an operand is a constant of the program, neither parameter nor input:
            resizing, which is written as two matrix products.
    """

    path: tuple[str, ...]
    multiply_adds: int
    fixed: bool


def multiply_adds(function: Callable[..., Any], *args: Any) -> int:
    """Multiply-adds of all products and convolutions of `function(*args)`.

    A matrix product has `batch · rows · columns · contracted`, a convolution `batch ·
    pixels out · channels out · kernel · channels in / groups`: zeros of the padding
    count, elementwise operations do not, as in the usual tables of networks. Of the
    branches of a condition the dearest counts.

    Args:
        function: anything that `jax.make_jaxpr` traces.
        *args: arrays, or `jax.ShapeDtypeStruct` for them.

    Raises:
        ValueError: a loop whose length depends on values, or a kernel of cuDNN other
            than the forward pass of attention.

    Example:
        >>> x, w = jax.ShapeDtypeStruct((5, 3), "float32"), jax.numpy.ones((3, 7))
        >>> multiply_adds(lambda x, w: jax.numpy.tanh(x @ w), x, w)
        105
    """
    program = jax.make_jaxpr(function)(*args)
    return sum(found.multiply_adds for found in contractions(program.jaxpr))


def contractions(program: Jaxpr) -> list[Contraction]:
    """The products and convolutions of a jaxpr; see `multiply_adds`."""
    return list(_walk(program, (), set()))


def scopes(equation: JaxprEqn) -> tuple[str, ...]:
    """Names of the modules around an equation, from the outside.

    The names that flax gives methods, "head._conv", and `jnp.einsum` gives itself,
    "nc,kc->nk", are left out.
    """
    names = str(equation.source_info.name_stack).split("/")
    return tuple(name for name in names if name.isidentifier())


def bodies(equation: JaxprEqn) -> list[Jaxpr]:
    """The jaxprs that an equation runs: of a call, a loop, the branches of a cond."""
    default = default_of(equation)
    if default is not None:
        return [default]
    parts = jax.tree.leaves(tuple(equation.params.values()))
    found = (p.jaxpr if isinstance(p, ClosedJaxpr) else p for p in parts)
    return [part for part in found if isinstance(part, Jaxpr)]


def _walk(jaxpr: Jaxpr, path: tuple[str, ...], fixed: set) -> Iterator[Contraction]:
    """Contractions of `jaxpr`, of whose variables `fixed` are known to be constant."""
    fixed = fixed | set(jaxpr.constvars)

    def is_fixed(atom: Any) -> bool:
        return isinstance(atom, Literal) or atom in fixed

    for equation in jaxpr.eqns:
        here = path + scopes(equation)
        operands = [is_fixed(atom) for atom in equation.invars]
        if all(operands):
            fixed.update(equation.outvars)
        name = equation.primitive.name
        count = _COUNTS.get(name)
        if count is None and name.startswith(_OPAQUE):
            raise ValueError(
                f"{name} in {'/'.join(here) or 'the function'} hides its products; "
                "count the same function with another implementation"
            )
        if count is not None:
            yield Contraction(here, count(equation), any(operands[:2]))
        yield from _inside(equation, here, operands)


def _inside(
    equation: JaxprEqn, path: tuple[str, ...], operands: list[bool]
) -> Iterator[Contraction]:
    """Contractions of the jaxprs that an equation runs."""
    name, inner = equation.primitive.name, bodies(equation)
    if name == "cond":
        branches = [list(_walk(branch, path, set())) for branch in inner]
        yield from max(branches, key=lambda b: sum(c.multiply_adds for c in b))
        return
    for body in inner:
        fixed = set()
        if name not in _RUNS and len(body.invars) == len(operands):
            fixed = {v for v, known in zip(body.invars, operands, strict=True) if known}
        found = list(_walk(body, path, fixed))
        runs = _RUNS[name](equation) if found and name in _RUNS else 1
        if runs is None:
            raise ValueError(
                f"a loop in {'/'.join(path) or 'the function'} ends when its values "
                "say so; give it a fixed number of iterations to count multiply-adds"
            )
        yield from (c._replace(multiply_adds=c.multiply_adds * runs) for c in found)


def _product(equation: JaxprEqn) -> int:
    """Multiply-adds of a `dot_general`."""
    (contracted, _), _ = equation.params["dimension_numbers"]
    left, outputs = _shape(equation.invars[0]), _shape(equation.outvars[0])
    return math.prod(outputs) * math.prod(left[axis] for axis in contracted)


def _convolution(equation: JaxprEqn) -> int:
    """Multiply-adds of a `conv_general_dilated`, whose kernel knows its groups."""
    kernel, outputs = _shape(equation.invars[1]), _shape(equation.outvars[0])
    _, inputs, *spatial = equation.params["dimension_numbers"].rhs_spec
    taps = math.prod(kernel[axis] for axis in spatial)
    spread = math.prod(equation.params["lhs_dilation"])  # zeros of a transposed one
    return math.prod(outputs) * taps * kernel[inputs] // spread


def _attention(equation: JaxprEqn) -> int:
    """Multiply-adds of cuDNN's fused attention: each query with all keys and values.

    Of (B, N, heads, D), or with its middle axes the other way about.
    """
    query, _, value = map(_shape, equation.invars[:3])
    keys = value[2 if equation.params["layout"] else 1]
    return (math.prod(query) + math.prod(_shape(equation.outvars[0]))) * keys


def _shape(atom: Any) -> tuple[int, ...]:
    return atom.aval.shape


_COUNTS = {
    "dot_general": _product,
    "conv_general_dilated": _convolution,
    "dot_product_attention_fwd": _attention,
    "dot_product_attention_fwd_wrapper": _attention,
}
_OPAQUE = ("dot_product_attention", "scaled_matmul")
"""What the primitives of cuDNN begin with, which run no jaxpr that could be counted."""


def _trip_count(equation: JaxprEqn) -> int | None:
    """Runs of a `while` that counts by one from a constant up to a constant, or None.

    That is what `lax.fori_loop` makes of bounds that are arrays.
    """
    condition, body = (equation.params[f"{k}_jaxpr"].jaxpr for k in ("cond", "body"))
    given, inner = (equation.params[f"{k}_nconsts"] for k in ("cond", "body"))
    if [step.primitive.name for step in condition.eqns] != ["lt"]:
        return None
    starts = [*equation.invars[:given], *equation.invars[given + inner :]]
    start = dict(zip(condition.invars, starts, strict=True))
    carry = zip(
        condition.invars[given:], body.invars[inner:], body.outvars, strict=True
    )
    counting, constant = set(), set(condition.invars[:given])
    for variable, old, new in carry:
        if new is old:
            constant.add(variable)
        elif _is_next(body, old, new):
            counting.add(variable)

    def known(atom: Any, variables: set) -> int | None:
        if not isinstance(atom, Literal):
            atom = start[atom] if atom in variables else None
        return int(atom.val) if isinstance(atom, Literal) else None

    counter, bound = condition.eqns[0].invars
    first, last = known(counter, counting), known(bound, constant)
    return None if first is None or last is None else max(0, last - first)


def _is_next(body: Jaxpr, old: Any, new: Any) -> bool:
    """Whether `new = old + 1` is an equation of a loop's body."""
    for equation in body.eqns:
        if equation.outvars[0] is new and equation.primitive.name == "add":
            left, right = equation.invars
            return left is old and isinstance(right, Literal) and int(right.val) == 1
    return False


_RUNS: dict[str, Callable[[JaxprEqn], int | None]] = {
    "scan": lambda equation: equation.params["length"],
    "while": _trip_count,
    "pallas_call": lambda equation: math.prod(equation.params["grid_mapping"].grid),
}
"""How often an equation runs its bodies; None where only the values say it."""
