"""The runs of an ablation: every point of a grid, with every seed."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from train.configuration.config import (
    PREFIX,
    apply_override,
    load_config,
    split_argument,
)
from train.configuration.limits import check_limits
from train.user.errors import UserError

FIELDS = ("axes", "base", "costs", "eval_iters", "seeds")

Axis = dict[str, tuple[str, ...]]
"""One thing that is varied: label of each point, and its overrides `field=value`."""

COLUMNS = (
    *("seed", "eval_iters", "status", "mean_iou", "pixel_accuracy"),
    *("images_per_second", "parameters", "multiply_adds", "training_memory", "error"),
)
"""Of `results.csv`, after the axes and before the classes."""

CLASS = "iou/"
"""Before the name of a class, the column of its IoU."""

SWEPT = "T_eval"
"""In tables and figures, EM iterations in evaluation where they are varied."""


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        point: by axis, the label of its point.
        seed: of the training.
        config: what it trains.
        folder: its workdir, below that of the ablation.
    """

    point: dict[str, str]
    seed: int
    config: ConfigDict
    folder: str


@dataclass(frozen=True)
class Ablation:
    """What is compared.

    Attributes:
        name: of the config file.
        axes: names of what is varied.
        runs: all trainings, seed by seed, so that a part of them is already a table.
        eval_iters: EM iterations at which each trained network is evaluated; empty:
            as its config says.
        costs: whether it is told what each point costs.
        base: config from which they depart.
        overrides: those of every training.
    """

    name: str
    axes: tuple[str, ...]
    runs: tuple[Run, ...]
    eval_iters: tuple[int, ...] = ()
    costs: bool = False
    base: str = ""
    overrides: tuple[str, ...] = ()


def load_ablation(path: str, overrides: Sequence[str] = ()) -> Ablation:
    """Read a config of `configs/ablations/`, and build the config of every run.

    Args:
        path: the file.
        overrides: `--config.FIELD=value` each, of the ablation's own fields or else of
            every training.

    Raises:
        UserError: a mistake in the file, in its grid or in an override.
    """
    config = load_config(path)
    missing = [name for name in FIELDS if name not in config]
    if missing:
        raise UserError(
            f"--config={path} has no field {missing[0]!r}, so it is no ablation; "
            "give one of configs/ablations/, or train with it"
        )
    config = config.copy_and_resolve_references().unlock()
    own = [text for text in overrides if field_of(text) in FIELDS]
    for text in own:
        apply_override(config, text)
    common = tuple(text for text in overrides if text not in own)
    base = _find(config.base, Path(path))
    axes = make_axes(config.axes)
    check_set_once(axes, common)
    seeds = _integers("seeds", config.seeds, least=0)
    eval_iters = _integers("eval_iters", config.eval_iters, least=1)
    if not seeds:
        raise UserError("config.seeds=() leaves nothing to train; give (0, 1, 2)")
    runs = tuple(_runs(axes, seeds, base, common))
    if len({run.folder for run in runs}) < len(runs):
        raise UserError("config.axes: two points or seeds would share a folder")
    return Ablation(
        name=Path(path).stem,
        axes=tuple(axes),
        runs=runs,
        eval_iters=eval_iters,
        costs=config.costs,
        base=config.base,
        overrides=common,
    )


def make_axes(pairs: Any) -> dict[str, Axis]:
    """The axes of `config.axes` by their names; raises a UserError as `make_axis`."""
    try:
        pairs = [(str(name), points) for name, points in pairs]
    except (TypeError, ValueError):
        raise UserError(
            f"config.axes={pairs!r} is not understood; "
            'give pairs, such as (("K", ("model.num_bases=8",)),)'
        ) from None
    if len(dict(pairs)) < len(pairs):
        raise UserError("config.axes names an axis twice")
    return {name: make_axis(name, points) for name, points in pairs}


def make_axis(name: str, points: Any) -> Axis:
    """An axis; the label of a point is the values it sets, joined by "+".

    Example:
        >>> make_axis("K", ["model.num_bases=8", ("batch_size=4", "log_every=1")])
        {'8': ('model.num_bases=8',), '4+1': ('batch_size=4', 'log_every=1')}

    Raises:
        UserError: no point, two of one label, or a point that sets nothing; a name
            that the tables use already.
    """
    if name in (*COLUMNS, SWEPT, "n") or name.startswith(CLASS):
        raise UserError(
            f"config.axes: {name} is a column of the tables; choose another name"
        )
    axis: Axis = {}
    for given in points if isinstance(points, tuple | list) else (points,):
        point = tuple(given) if isinstance(given, tuple | list) else (given,)
        if not point or not all(isinstance(t, str) and "=" in t for t in point):
            raise UserError(
                f"config.axes: {name} has the point {given!r}; "
                'give overrides, such as "model.num_bases=8"'
            )
        label = "+".join(text.partition("=")[2] for text in point)
        if label in axis:
            raise UserError(f"config.axes: {name} has the point {label!r} twice")
        axis[label] = point
    if not axis:
        raise UserError(f"config.axes: {name} has no point")
    return axis


def check_set_once(axes: Mapping[str, Axis], common: Sequence[str]) -> None:
    """Raise a UserError for what would be set and set anew, or varied twice.

    Args:
        axes: of the ablation.
        common: overrides of every training.
    """
    setters = {"seed": "config.seeds"}
    for name, axis in axes.items():
        fields = {field_of(text) for point in axis.values() for text in point}
        if twice := sorted(fields & setters.keys()):
            raise UserError(
                f"config.axes: {name} sets {twice[0]}, which {setters[twice[0]]} "
                "sets too; leave it to one of them"
            )
        setters |= dict.fromkeys(fields, f"the axis {name}")
    for text in common:
        if setter := setters.get(field_of(text)):
            raise UserError(f"{text} is set by {setter} in every run; set that instead")


def folder_name(point: Mapping[str, str]) -> str:
    """A folder for a point of the grid.

    Example:
        >>> folder_name({"crop": "(65, 65)"})
        'crop=65,65'
    """
    text = ",".join(f"{axis}={label}" for axis, label in point.items())
    return re.sub(r"[^\w.,=+-]", "", text) or "base"


def _runs(
    axes: Mapping[str, Axis], seeds: Sequence[int], base: str, common: Sequence[str]
) -> Iterator[Run]:
    """Every point with every seed."""
    points = [
        dict(zip(axes, labels, strict=True))
        for labels in itertools.product(*axes.values())
    ]
    for seed, point in itertools.product(seeds, points):
        texts = [text for name, label in point.items() for text in axes[name][label]]
        overrides = [PREFIX + text for text in (*texts, f"seed={seed}")]
        config = load_config(base, [*common, *overrides])
        check_limits(config)
        yield Run(point, seed, config, f"runs/{folder_name(point)}/seed{seed}")


def _find(base: Any, file: Path) -> str:
    """The base config: a path from here, or from the folder of the ablation."""
    if not isinstance(base, str):
        raise UserError(
            f"config.base={base!r} is no path; give that of a training's config, such "
            "as base/shapes.py"
        )
    beside = str(file.parent / base)
    found = (path for path in (base, beside) if split_argument(path)[0].is_file())
    return next(found, base)


def _integers(field: str, values: Any, least: int) -> tuple[int, ...]:
    """Those of a field, each of `least` or more, and there once."""
    values = tuple(values) if isinstance(values, list) else values
    if not isinstance(values, tuple) or not all(
        type(v) is int and v >= least for v in values
    ):
        raise UserError(
            f"config.{field}={values!r} cannot be used; give integers of {least} or "
            f"more, such as ({least}, {least + 1})"
        )
    if len(set(values)) < len(values):
        raise UserError(f"config.{field}={values} names a value twice")
    return values


def field_of(override: str) -> str:
    """The field that an override sets.

    Example:
        >>> field_of("--config.model.num_bases=8"), field_of("batch_size=4")
        ('model.num_bases', 'batch_size')
    """
    return override.removeprefix(PREFIX).partition("=")[0]
