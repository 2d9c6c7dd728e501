"""The options of EM attention by name, and the errors of its arguments."""

from typing import Literal, get_args

import jax.numpy as jnp
from jax import Array

Kernel = Literal["dot", "gaussian"]
Normalization = Literal["l2", "layer", "none"]
Assignment = Literal["soft", "hard"]
Gradient = Literal["stop", "last_step", "unroll", "implicit"]
BasesUpdate = Literal["moving_average", "gradient", "none"]
Implementation = Literal["xla"]
AxisName = str | tuple[str, ...]

OPTIONS: dict[str, tuple[object, ...]] = {
    "kernel": get_args(Kernel),
    "normalization": get_args(Normalization),
    "assignment": get_args(Assignment),
    "gradient": get_args(Gradient),
    "bases_update": get_args(BasesUpdate),
    "implementation": (None, *get_args(Implementation)),
}
"""Option to its values, the published one first."""


def axis_names(axis_name: AxisName | None) -> tuple[str, ...]:
    """The names of no, one or several mapped axes."""
    if axis_name is None:
        return ()
    return (axis_name,) if isinstance(axis_name, str) else tuple(axis_name)


def check_option(name: str, value: object, options: tuple[object, ...]) -> None:
    """Raise a ValueError that lists the options unless `value` is one of them."""
    if value not in options:
        raise ValueError(f"{name}={value!r} is unknown; choose one of {options}")


def check_choices(**choices: object) -> None:
    """Raise a ValueError unless every value is one of the options of its name."""
    for name, value in choices.items():
        check_option(name, value, OPTIONS[name])


def check_features(x: Array, mask: Array | None, *, layout: str | None = None) -> None:
    """Raise a ValueError unless `x` is (B, *spatial, C) and the mask (B, *spatial).

    Args:
        x: features.
        mask: true where a token exists, or None.
        layout: axes that `x` must have, "B H W C" say; any number of spatial axes
            by default.
    """
    if layout is not None and x.ndim != len(layout.split()):
        raise ValueError(f"x has shape {x.shape}; give ({', '.join(layout.split())})")
    if x.ndim < 3:
        raise ValueError(f"x has shape {x.shape}; give (B, *spatial, C)")
    if mask is not None and mask.shape != x.shape[:-1]:
        raise ValueError(
            f"mask has shape {mask.shape}; x of shape {x.shape} needs {x.shape[:-1]}"
        )


def check_positive(name: str, value: int | None) -> None:
    """Raise a ValueError if a count is given and is below one."""
    if value is not None and value < 1:
        raise ValueError(f"{name}={value}; give at least 1")


def check_shapes(
    x: Array, bases: Array, num_iters: int | Array, mask: Array | None
) -> None:
    """Raise a ValueError unless the arguments of `em_attention` fit together."""
    if x.ndim < 2:
        raise ValueError(f"x has shape {x.shape}; give tokens as (..., N, C)")
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"x has type {x.dtype}; convert it to a floating type")
    if bases.ndim < 2 or bases.shape[-1] != x.shape[-1]:
        raise ValueError(
            f"bases of shape {bases.shape} do not fit x of shape {x.shape}; "
            f"give (K, {x.shape[-1]}) or (..., K, {x.shape[-1]})"
        )
    if not _broadcasts(bases.shape[:-2], x.shape[:-2]):
        raise ValueError(
            f"bases of shape {bases.shape} have other leading axes than x, {x.shape}; "
            f"give (K, C) or {(*x.shape[:-2], 'K', 'C')}"
        )
    if mask is not None and mask.shape != x.shape[:-1]:
        raise ValueError(
            f"mask has shape {mask.shape}; x of shape {x.shape} needs {x.shape[:-1]}"
        )
    if isinstance(num_iters, int) and num_iters < 1:
        raise ValueError(f"num_iters={num_iters}; give at least 1")


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    try:
        return jnp.broadcast_shapes(shape, to) == to
    except ValueError:
        return False
