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

Map = Callable[[Array], Array]
Update = Callable[..., Array]


def fixed_point(
    update: Update, start: Array, num_iters: int | Array, *theta: Any
) -> Array:
    """`num_iters` times `update`, differentiated as the fixed point `x = update(x, θ)`.

    `dx/dθ = (I - J)⁻¹ ∂update/∂θ`, J the Jacobian of `update` in x. The transposed
    system is solved by Neumann's series, to a relative 1e-7 or 200 terms; nothing of
    the iterations is stored. Where they have not converged this is the gradient of the
    fixed point nearby, not of the result; where the series has no sum, that of the last
    iteration. Nothing flows to `start`. Reverse mode only.

    Args:
        update: maps (..., K, C) and θ to (..., K, C), each leading index on its own;
            closes over no array.
        start: (..., K, C).
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


def repeat(update: Update, start: Array, times: int | Array, *theta: Any) -> Array:
    """Apply `x ← update(x, *theta)` so many times."""
    return lax.fori_loop(0, times, lambda _, x: update(x, *theta), start)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _implicit(update: Update, found: Array, *theta: Any) -> Array:
    """`found` as a function of θ, which `found = update(found, θ)` defines."""
    del update, theta
    return found


def _forward(update: Update, found: Array, *theta: Any) -> tuple[Array, Any]:
    del update
    return found, (found, theta)


def _backward(update: Update, residuals: Any, cotangent: Array) -> tuple[Any, ...]:
    found, theta = residuals
    _, transposed = jax.vjp(update, found, *theta)
    solution = _neumann(lambda v: transposed(v)[0], cotangent)
    return None, *transposed(solution)[1:]


_implicit.defvjp(_forward, _backward)


def _neumann(linear: Map, v: Array) -> Array:
    """`v + A v + A² v + …` for the linear map A.

    Each leading index stops on its own once its terms are small. They may grow before
    they shrink. Where they grow a hundredfold, or have not shrunk in the end, the
    series has no sum, and v alone stands for it: the gradient of the last iteration.
    """

    def size(term: Array) -> Array:
        return jnp.sqrt(jnp.sum(jnp.square(term), axis=(-2, -1), keepdims=True))

    def unfinished(carry: tuple[Array, Array, Array, Array]) -> Array:
        count, _, _, active = carry
        return (count < MAX_ITERS) & jnp.any(active)

    def add(
        carry: tuple[Array, Array, Array, Array],
    ) -> tuple[Array, Array, Array, Array]:
        count, total, term, active = carry
        following = linear(term)
        bounded = size(following) < GROWTH * size(v)  # false for NaN
        total = jnp.where(active & bounded, total + following, total)
        total = jnp.where(active & ~bounded, v, total)
        active &= bounded & (size(following) > TOLERANCE * size(total))
        return count + 1, total, jnp.where(active, following, term), active

    start = (jnp.zeros((), jnp.int32), v, v, size(v) > 0)
    _, total, last, active = lax.while_loop(unfinished, add, start)
    return jnp.where(active & (size(last) > size(v)), v, total)
