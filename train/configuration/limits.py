"""What the fields of a config may hold, checked before anything is opened."""

import math
from collections.abc import Callable, Iterable
from typing import Any

from ml_collections import ConfigDict

from ema_jax import MODELS
from train.configuration.config import field_names
from train.user.errors import UserError
from train.user.names import nearest

Limit = tuple[Callable[[Any], bool], str]


def _is_crop_size(value: Any) -> bool:
    return len(value) == 2 and all(isinstance(n, int) and n > 0 for n in value)


WEIGHTS = "'balanced', 'balanced_log', or a number for each class, such as (1, 2.5)"


def _is_weights(value: Any) -> bool:
    if isinstance(value, str):
        return value in ("balanced", "balanced_log")
    return len(value) > 0 and all(0 <= weight < math.inf for weight in value)


def _is_best(value: Any) -> bool:
    if isinstance(value, str):
        return value == "loss"
    return len(value) > 0 and all(isinstance(name, str) for name in value)


def _is_pairs(value: Any) -> bool:
    names = [name for pair in value for name in pair]
    whole = all(len(pair) == 2 and not isinstance(pair, str) for pair in value)
    return whole and all(isinstance(name, str) for name in names)


COUNT: Limit = (lambda value: value >= 1, "1 or more")
WHOLE: Limit = (lambda value: value >= 0, "0 or more")
SIZE: Limit = (lambda value: 0 <= value < math.inf, "finite and not negative")
SHARE: Limit = (lambda value: 0 <= value <= 1, "between 0 and 1")
PART: Limit = (lambda value: 0 <= value < 1, "at least 0 and below 1")
POSITIVE: Limit = (lambda value: 0 < value < math.inf, "finite and above 0")
ODD: Limit = (lambda value: value >= 1 and value % 2 == 1, "an odd number")
SCALES: Limit = (
    lambda value: len(value) > 0 and all(0 < factor < math.inf for factor in value),
    "one or more positive numbers, such as (0.5, 1.0)",
)
STOP_OR_WARN: Limit = (lambda value: value in ("stop", "warn"), "'stop' or 'warn'")
STOP_OR_SKIP: Limit = (lambda value: value in ("stop", "skip"), "'stop' or 'skip'")


def optional(limit: Limit) -> Limit:
    """The same limit for a field that may be None."""
    allows, words = limit
    return lambda value: value is None or allows(value), f"none, or {words}"


LIMITS: dict[str, Limit] = {
    "seed": WHOLE,
    "num_steps": COUNT,
    "num_epochs": optional(POSITIVE),
    "min_steps": COUNT,
    "max_steps": COUNT,
    "batch_size": COUNT,
    "log_every": COUNT,
    "early_stop": optional(COUNT),
    "non_finite": STOP_OR_SKIP,
    "max_non_finite": COUNT,
    "model.in_channels": optional(COUNT),
    "model.dropout_rate": PART,
    "model.bn_decay": SHARE,
    "model.decoder_channels": optional(COUNT),
    "model.num_bases": optional(COUNT),
    "model.num_heads": optional(COUNT),
    "model.num_iters": optional(COUNT),
    "model.eval_iters": optional(COUNT),
    "model.eval_window": optional(
        (_is_crop_size, "height and width of features, such as (33, 33)")
    ),
    "model.bases_decay": optional(SHARE),
    "model.variance_floor": optional((lambda value: value > 0, "above 0")),
    "model.temperature": optional(SIZE),
    "model.query_chunk": optional(COUNT),
    "model.map_size": optional(ODD),
    "data.label_map": (
        _is_pairs,
        "pairs of names, such as (('car', 'vehicle'), ('sky', 'ignore'))",
    ),
    "data.mask_pattern": optional((lambda text: "{}" in text, "with {} in it")),
    "data.val_share": optional((lambda value: 0 < value < 1, "between 0 and 1")),
    "data.value_range": optional(
        (
            lambda value: len(value) == 2 and value[0] < value[1],
            "black and white, such as (0, 4095)",
        )
    ),
    "data.repeat_rare": optional((lambda value: 0 < value <= 1, "a share, up to 1")),
    "data.scales": SCALES,
    "data.crop_size": (_is_crop_size, "height and width, such as (513, 513)"),
    "data.color_jitter": (
        lambda value: len(value) == 4 and min(value) >= 0 and value[3] <= 0.5,
        "brightness, contrast, saturation and hue (up to 0.5), such as "
        "(0.4, 0.4, 0.4, 0.1)",
    ),
    "data.num_threads": WHOLE,
    "data.prefetch": WHOLE,
    "data.corrupt": STOP_OR_SKIP,
    "data.max_corrupt": WHOLE,
    "data.suspicious": STOP_OR_WARN,
    "loss.cross_entropy": SIZE,
    "loss.focal": SIZE,
    "loss.dice": SIZE,
    "loss.lovasz": SIZE,
    "loss.class_weights": optional((_is_weights, WEIGHTS)),
    "loss.label_smoothing": SHARE,
    "loss.gamma": SIZE,
    "optimizer.learning_rate": SIZE,
    "optimizer.power": SIZE,
    "optimizer.hold_steps": COUNT,
    "optimizer.momentum": PART,
    "optimizer.weight_decay": SIZE,
    "optimizer.bias_rate": SIZE,
    "optimizer.backbone_rate": SIZE,
    "optimizer.auxiliary_weight": SIZE,
    "optimizer.pixel_mean": (
        lambda value: value in ("all", "valid"),
        "'all' or 'valid'",
    ),
    "optimizer.ohem_threshold": optional(
        (lambda value: 0 < value <= 1, "a probability above 0")
    ),
    "optimizer.ohem_min_kept": WHOLE,
    "optimizer.accumulation": COUNT,
    "optimizer.norm_groups": COUNT,
    "mesh.space": COUNT,
    "evaluation.every": COUNT,
    "evaluation.times": optional(COUNT),
    "evaluation.batch_size": COUNT,
    "evaluation.canvas_multiple": COUNT,
    "evaluation.scales": SCALES,
    "evaluation.window": optional(
        (_is_crop_size, "height and width, such as (769, 769)")
    ),
    "evaluation.num_pictures": WHOLE,
    "checkpoint.every": COUNT,
    "checkpoint.keep_last": COUNT,
    "checkpoint.keep_best": WHOLE,
    "checkpoint.best": optional((_is_best, "'loss', or names of classes in brackets")),
}
"""Field to a test of its value, and the words for what passes."""


def check_known(field: str, value: str, known: Iterable[str]) -> None:
    """Raise a UserError that names the nearest of what a field can be."""
    if value not in known:
        raise UserError(f"config.{field}={value!r} is unknown; {nearest(value, known)}")


def check_limits(config: ConfigDict, *, complete: bool = True) -> None:
    """Raise a UserError that names the first field whose value cannot be used.

    Or, of a config that must be `complete`, the first that is missing.
    """
    present = set(field_names(config))
    if "model.name" in present:
        check_known("model.name", config.model.name, MODELS)
    for name, (allows, words) in LIMITS.items():
        if name not in present and not complete:
            continue
        if name not in present:
            raise UserError(
                f"config.{name} is missing; begin the config with "
                "configs.default.get_config()"
            )
        section, _, field = name.rpartition(".")
        value = config[section][field] if section else config[name]
        try:
            allowed = allows(value)
        except TypeError:  # of a type that cannot be compared
            allowed = False
        if not allowed:
            raise UserError(f"config.{name}={value!r} cannot be used; give {words}")
