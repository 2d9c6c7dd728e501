"""The options of the EMA unit, and which of them fit together."""

from typing import Protocol

from jax import Array
from jax.typing import DTypeLike

from ema_jax.options import (
    Assignment,
    AxisName,
    BasesUpdate,
    Covariance,
    Gradient,
    Kernel,
    Mixing,
    Normalization,
    check_choices,
    check_count,
    check_features,
    check_mixture_options,
    check_num_iters,
    check_share,
    check_window,
)


class Unit(Protocol):
    """The options of a unit; `ema_jax.EMAU` explains them."""

    num_bases: int
    num_heads: int
    num_iters: int | Array
    eval_iters: int | Array | None
    eval_window: tuple[int, int] | None
    bases_decay: float
    bases_update: BasesUpdate
    normalize_batch_mean: bool
    renormalize_average: bool
    skip_non_finite: bool
    kernel: Kernel
    normalization: Normalization
    gradient: Gradient
    assignment: Assignment
    covariance: Covariance
    mixing: Mixing
    variance_floor: float
    temperature: float | Array
    learn_temperature: bool
    zero_init: bool
    bn_decay: float
    axis_name: AxisName | None
    token_axis_name: AxisName | None
    dtype: DTypeLike


def check_unit(unit: Unit, channels: int, *, train: bool) -> None:
    """Raise a ValueError unless the options are in their range and fit together."""
    check_count("num_bases", unit.num_bases)
    check_count("num_heads", unit.num_heads)
    if channels % unit.num_heads:
        raise ValueError(
            f"num_heads={unit.num_heads} does not divide the {channels} channels "
            "of x; give a divisor of them"
        )
    check_share("bases_decay", unit.bases_decay)
    check_share("bn_decay", unit.bn_decay)
    check_choices(bases_update=unit.bases_update, gradient=unit.gradient)
    check_mixture_options(
        unit.kernel,
        unit.covariance,
        unit.mixing,
        unit.temperature,
        unit.variance_floor,
    )
    if unit.eval_iters is not None and not train:
        check_num_iters(unit.eval_iters, unit.gradient, "eval_iters")
    if unit.eval_window is not None:
        _check_windows(unit)
    if unit.bases_update == "gradient" and unit.gradient != "unroll":
        raise ValueError(
            f"gradient={unit.gradient!r} lets nothing reach the initial bases; "
            "bases_update='gradient' needs gradient='unroll'"
        )
    if unit.learn_temperature:
        _check_learnt(unit)


def check_call(unit: Unit, x: Array, mask: Array | None, *, train: bool) -> None:
    """Raise a ValueError unless options, features and mask fit together."""
    check_features(x, mask)
    check_unit(unit, x.shape[-1], train=train)
    if unit.eval_window is not None and x.ndim != 4:
        raise ValueError(
            f"eval_window={unit.eval_window} is a height and a width, and x has shape "
            f"{x.shape}; give (B, H, W, C), or eval_window=None"
        )


def _check_windows(unit: Unit) -> None:
    """Raise a ValueError unless windows can be cut out of images."""
    check_window("eval_window", unit.eval_window)
    if unit.token_axis_name is not None:
        raise ValueError(
            f"eval_window={unit.eval_window} is cut out of whole images, and "
            f"token_axis_name={unit.token_axis_name!r} splits them; give one of the two"
        )


def _check_learnt(unit: Unit) -> None:
    """Raise a ValueError unless the temperature can be learnt."""
    if unit.gradient == "stop":
        raise ValueError(
            "gradient='stop' lets nothing reach the temperature; "
            "learn_temperature=True needs another"
        )
    if unit.covariance != "fixed" and unit.gradient != "unroll":
        raise ValueError(
            f"covariance={unit.covariance!r} has the temperature for its start only; "
            "learn_temperature=True needs gradient='unroll'"
        )
    if unit.temperature <= 0:
        raise ValueError(
            f"temperature={unit.temperature} has no logarithm to learn; "
            "learn_temperature=True needs a start above 0"
        )
