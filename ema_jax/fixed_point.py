"""The gradient of a converged iteration, by the implicit function theorem."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

MAX_ITERS = 200
TOLERANCE = 1e-7
GROWTH = 100.0

State = Any
"""Arrays (..., K, ·) with the same leading axes: one, or a tree of them."""

Map = Callable[[State], State]
Update = Callable[..., State]


def fixed_point(
    update: Update, start: State, num_iters: int | Array, *theta: Any
) -> State:
    """`num_iters` times `update`, differentiated as the fixed point `x = update(x, θ)`.

    `dx/dθ = (I - J)⁻¹ ∂update/∂θ`, J the Jacobian of `update` in x. The transposed
    system is solved by Neumann's series, to a relative 1e-7 or 200 terms; nothing of
    the iterations is stored. Where they have not converged this is the gradient of the
    fixed point nearby, not of the result; where the series has no sum, that of the last
    iteration. Nothing flows to `start`. Reverse mode only.

    Args:
        update: maps x and θ to x, each leading index on its own; closes over no array.
        start: x, an array (..., K, C) or a tree of such.
        num_iters: how often to apply it; a traced integer is allowed.
        *theta: what else `update` depends on, arrays or None.

    Example:
        >>> def root(a):  # x ← x/2 + a/(2x) converges to √a
        ...     update = lambda x, a: (x + a / x) / 2
        ...     return fixed_point(update, jnp.ones((1, 1)), 20, a)[0, 0]
        >>> print(f"{jax.grad(root)(4.0):.4f}")
        0.2500
    """
    start, stopped = lax.stop_gradient((start, theta))
    found = repeat(update, start, num_iters, *stopped)
    return _implicit(update, lax.stop_gradient(found), *theta)


def repeat(update: Update, start: State, times: int | Array, *theta: Any) -> State:
    """Apply `x ← update(x, *theta)` so many times."""
    return lax.fori_loop(0, times, lambda _, x: update(x, *theta), start)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _implicit(update: Update, found: State, *theta: Any) -> State:
    """`found` as a function of θ, which `found = update(found, θ)` defines."""
    del update, theta
    return found


def _forward(update: Update, found: State, *theta: Any) -> tuple[State, Any]:
    del update
    return found, (found, theta)


def _backward(update: Update, residuals: Any, cotangent: State) -> tuple[Any, ...]:
    found, theta = residuals
    _, transposed = jax.vjp(update, found, *theta)
    solution = _neumann(lambda v: transposed(v)[0], cotangent)
    return None, *transposed(solution)[1:]


_implicit.defvjp(_forward, _backward)


def _neumann(linear: Map, v: State) -> State:
    """`v + A v + A² v + …` for the linear map A.

    Each leading index stops on its own once its terms are small. They may grow before
    they shrink. Where they grow a hundredfold, or have not shrunk in the end, the
    series has no sum, and v alone stands for it: the gradient of the last iteration.
    """

    def size(term: State) -> Array:
        squares = [
            jnp.sum(jnp.square(leaf), axis=(-2, -1), keepdims=True)
            for leaf in jax.tree.leaves(term)
        ]
        return jnp.sqrt(sum(squares[1:], squares[0]))

    def choose(where: Array, yes: State, no: State) -> State:
        return jax.tree.map(lambda a, b: jnp.where(where, a, b), yes, no)

    def unfinished(carry: tuple[Array, State, State, Array]) -> Array:
        count, _, _, active = carry
        return (count < MAX_ITERS) & jnp.any(active)

    def add(
        carry: tuple[Array, State, State, Array],
    ) -> tuple[Array, State, State, Array]:
        count, total, term, active = carry
        following = linear(term)
        bounded = size(following) < GROWTH * size(v)  # false for NaN
        larger = jax.tree.map(jnp.add, total, following)
        total = choose(active & bounded, larger, total)
        total = choose(active & ~bounded, v, total)
        active &= bounded & (size(following) > TOLERANCE * size(total))
        return count + 1, total, choose(active, following, term), active

    start = (jnp.zeros((), jnp.int32), v, v, size(v) > 0)
    _, total, last, active = lax.while_loop(unfinished, add, start)
    return choose(active & (size(last) > size(v)), v, total)
