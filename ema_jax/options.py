"""The options of EM attention by name, and the errors of its arguments."""

import operator
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jax import Array

Kernel = Literal["dot", "gaussian"]
Normalization = Literal["l2", "layer", "none"]
Assignment = Literal["soft", "hard"]
Gradient = Literal["stop", "last_step", "unroll", "implicit"]
Covariance = Literal["fixed", "spherical", "diagonal"]
Mixing = Literal["uniform", "learned"]
BasesUpdate = Literal["moving_average", "gradient", "none"]
Implementation = Literal["xla"]
AxisName = str | tuple[str, ...]

OPTIONS: dict[str, tuple[object, ...]] = {
    "kernel": get_args(Kernel),
    "normalization": get_args(Normalization),
    "assignment": get_args(Assignment),
    "gradient": get_args(Gradient),
    "covariance": get_args(Covariance),
    "mixing": get_args(Mixing),
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
    check_arrays(x=x, mask=mask)
    if layout is not None and x.ndim != len(layout.split()):
        raise ValueError(f"x has shape {x.shape}; give ({', '.join(layout.split())})")
    if x.ndim < 3:
        raise ValueError(f"x has shape {x.shape}; give (B, *spatial, C)")
    check_channels(x)
    check_mask(x, mask)


def check_arrays(**values: Any) -> None:
    """Raise a ValueError unless every value is an array, or None."""
    for name, value in values.items():
        if value is not None and not hasattr(value, "ndim"):
            raise ValueError(
                f"{name} is a {type(value).__name__}; give an array, such as "
                f"jnp.asarray({name})"
            )


def check_channels(x: Array) -> None:
    """Raise a ValueError if x (..., C) has no channel, or no floating type."""
    if x.shape[-1] == 0:
        raise ValueError(f"x has shape {x.shape}, without a channel; give at least one")
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"x has type {x.dtype}; convert it to a floating type")


def check_images(images: Array, mask: Array | None, in_channels: int) -> None:
    """Raise a ValueError unless images are (B, H, W, C), and the mask (B, H, W)."""
    check_arrays(images=images, mask=mask)
    shape = images.shape
    if images.ndim != 4:
        raise ValueError(f"images have shape {shape}; give (B, H, W, {in_channels})")
    if shape[-1] != in_channels:
        mend = f"give (B, H, W, {in_channels})"
        if shape[1] == in_channels:
            mend = "give channels last, jnp.moveaxis(images, 1, -1)"
        raise ValueError(
            f"images have shape {shape}, and in_channels={in_channels}; {mend}"
        )
    if mask is not None and mask.shape != shape[:-1]:
        raise ValueError(
            f"mask has shape {mask.shape}; images of shape {shape} need {shape[:-1]}"
        )


def check_mask(x: Array, mask: Array | None) -> None:
    """Raise a ValueError unless a mask has the axes of x (..., C) but the last."""
    if mask is not None and mask.shape != x.shape[:-1]:
        raise ValueError(
            f"mask has shape {mask.shape}; x of shape {x.shape} needs {x.shape[:-1]}"
        )


def check_count(name: str, value: Any) -> None:
    """Raise a ValueError unless `value` is an integer of at least one."""
    try:
        counted = not isinstance(value, bool) and operator.index(value) >= 1
    except TypeError:
        counted = False
    if not counted:
        raise ValueError(f"{name}={value!r}; give an integer of at least 1")


def check_counts(**values: Any) -> None:
    """Raise a ValueError unless every value is an integer of at least one."""
    for name, value in values.items():
        check_count(name, value)


def check_positive(name: str, value: int | None) -> None:
    """`check_count`, of a value that may be left out."""
    if value is not None:
        check_count(name, value)


def check_window(name: str, value: Any) -> None:
    """Raise a ValueError unless `value` is a height and a width."""
    try:
        height, width = value
        check_counts(height=height, width=width)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name}={value!r}; give a height and a width of at least 1, such as "
            "(25, 25)"
        ) from None


def check_share(name: str, value: float) -> None:
    """Raise a ValueError unless `value` is between zero and one."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name}={value!r}; give a number from 0 to 1")


def check_above_zero(name: str, value: float | Array) -> None:
    """Raise a ValueError unless `value` is positive; a tracer may be anything."""
    if not isinstance(value, jax.core.Tracer) and not value > 0:
        raise ValueError(f"{name}={value}; give a number above 0")


def check_num_iters(
    value: int | Array, gradient: Gradient, name: str = "num_iters"
) -> None:
    """Raise a ValueError unless EM can iterate so often; a tracer may be anything."""
    if isinstance(value, jax.core.Tracer):
        if value.ndim or not jnp.issubdtype(value.dtype, jnp.integer):
            raise ValueError(f"{name} is {value.aval}; give one integer")
        if gradient == "unroll":
            raise ValueError(
                f"{name} is traced, and gradient='unroll' must know how many "
                "iterations it goes back; give an int, or another gradient"
            )
    else:
        check_count(name, value)


def check_temperature(temperature: float | Array) -> None:
    """Raise a ValueError unless λ is one number."""
    if jnp.ndim(temperature):
        raise ValueError(
            f"temperature has shape {jnp.shape(temperature)}; give one number"
        )


def check_tokens(x: Array, bases: Array, mask: Array | None) -> None:
    """Raise a ValueError unless tokens, bases and mask fit together."""
    check_arrays(x=x, bases=bases, mask=mask)
    if x.ndim < 2:
        raise ValueError(f"x has shape {x.shape}; give tokens as (..., N, C)")
    check_channels(x)
    if bases.ndim < 2 or bases.shape[-1] != x.shape[-1] or not bases.shape[-2]:
        raise ValueError(
            f"bases of shape {bases.shape} do not fit x of shape {x.shape}; "
            f"give (K, {x.shape[-1]}) or (..., K, {x.shape[-1]}), K at least 1"
        )
    if not _broadcasts(bases.shape[:-2], x.shape[:-2]):
        raise ValueError(
            f"bases of shape {bases.shape} have other leading axes than x, {x.shape}; "
            f"give (K, C) or {(*x.shape[:-2], 'K', 'C')}"
        )
    check_mask(x, mask)


def check_mixture_options(
    kernel: Kernel,
    covariance: Covariance,
    mixing: Mixing,
    temperature: float | Array,
    variance_floor: float,
) -> None:
    """Raise a ValueError unless these are options of a Gaussian mixture, or off."""
    check_choices(kernel=kernel, covariance=covariance, mixing=mixing)
    for name, value, off in (
        ("covariance", covariance, "fixed"),
        ("mixing", mixing, "uniform"),
    ):
        if value != off and kernel != "gaussian":
            raise ValueError(
                f"{name}={value!r} is of a Gaussian mixture, and kernel={kernel!r}; "
                f"give kernel='gaussian', or {name}={off!r}"
            )
    check_above_zero("variance_floor", variance_floor)
    if covariance != "fixed":
        check_above_zero("temperature", temperature)


def check_starts(
    bases: Array,
    covariance: Covariance,
    mixing: Mixing,
    covariances: Array | None,
    proportions: Array | None,
) -> None:
    """Raise a ValueError unless what EM starts from has the shapes of its options."""
    check_arrays(covariances=covariances, proportions=proportions)
    rows = bases.shape[:-1]
    wanted = {"fixed": None, "spherical": rows, "diagonal": bases.shape}[covariance]
    _check_start("covariances", covariances, wanted, f"covariance={covariance!r}")
    wanted = rows if mixing == "learned" else None
    _check_start("proportions", proportions, wanted, f"mixing={mixing!r}")


def _check_start(
    name: str, array: Array | None, wanted: tuple[int, ...] | None, option: str
) -> None:
    if array is None:
        return
    if wanted is None:
        raise ValueError(f"{option} estimates none; leave out {name}")
    if array.shape != wanted:
        raise ValueError(f"{name} has shape {array.shape}; {option} needs {wanted}")


def check_bases(bases: Array, num_bases: int, x: Array) -> None:
    """Raise a ValueError unless bases fit a unit and its input (B, *spatial, C)."""
    check_arrays(initial_bases=bases)
    wanted = (num_bases, x.shape[-1])
    each = (x.shape[0], *wanted)
    if bases.shape not in (wanted, each):
        raise ValueError(
            f"the bases have shape {bases.shape}; num_bases={num_bases} and x of "
            f"shape {x.shape} need {wanted}, or {each} for each image"
        )


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    try:
        return jnp.broadcast_shapes(shape, to) == to
    except ValueError:
        return False
