"""Foreign state dicts to Flax variables, and back."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from ema_jax.backbones import EfficientNetLite
from ema_jax.weights.architecture import (
    backbone_kind,
    expected_shapes,
    is_backbone,
    model_options,
)
from ema_jax.weights.describe import few
from ema_jax.weights.efficientnet_lite import (
    CLASSIFIER,
    efficientnet_lite_keys,
    efficientnet_lite_table,
)
from ema_jax.weights.emanet import emanet_keys, emanet_table
from ema_jax.weights.mmseg import mmseg_keys, mmseg_table
from ema_jax.weights.resnet import resnet_keys, resnet_table
from ema_jax.weights.table import FORMS, KeyTable, has_form, to_jax, to_torch
from ema_jax.weights.unwrap import unwrap


class Family(NamedTuple):
    """Files of one origin.

    Attributes:
        prefix: of names that only they have.
        make_table: from all names.
        ignored: prefixes of what no network here has: the classifier of ImageNet.
    """

    prefix: str
    make_table: Callable[[Iterable[str]], KeyTable]
    ignored: tuple[str, ...] = ()


FAMILIES = {
    "the EMANet release": Family("extractor.", emanet_table),
    "OpenMMLab's EMANet": Family("decode_head.ema_", mmseg_table),
    "an ImageNet ResNet": Family("layer1.", resnet_table, ("fc.",)),
    "an ImageNet EfficientNet-Lite": Family(
        "_blocks.", efficientnet_lite_table, CLASSIFIER
    ),
}

SEPARATOR = "/"
OWN = ("params/", "batch_stats/")  # what our own names begin with
COUNTER = "num_batches_tracked"  # of PyTorch's batch normalisation; nothing reads it


def convert_state_dict(
    state_dict: Mapping[str, Any], *, allow_non_finite: bool = False
) -> dict[str, Any]:
    """Variables of our models from a foreign state dict, whose names tell its family.

    Args:
        state_dict: names to arrays, or a dictionary that holds such a one under a key
            such as "state_dict", see `unwrap`: the EMANet release, OpenMMLab's EMANet,
            a ResNet of torchvision, of timm or with the deep ImageNet stem, or an
            EfficientNet-Lite (their classifiers are dropped). Names of our own, such
            as "params/head/classifier/bias", are those of any network here.
        allow_non_finite: take weights with NaN or infinity as they are.

    Returns:
        {"params": …, "batch_stats": …} in float32, with the backbone alone for one of
        ImageNet.

    Raises:
        ValueError: an unknown family, arrays that are missing, that nothing reads or
            that have another shape than the rest of the network asks for, of which
            the message names the first, or such as are not finite.
    """
    state, _ = unwrap(state_dict)
    own = all(str(name).startswith(OWN) for name in state) and state
    variables = _own_variables(state) if own else _foreign_variables(state)
    if not allow_non_finite:
        check_finite(variables)
    return variables


def _foreign_variables(state: Mapping[str, Any]) -> dict[str, Any]:
    family = _find_family(state)
    state = {
        name: x
        for name, x in state.items()
        if not name.endswith(COUNTER) and not name.startswith(family.ignored)
    }
    table = family.make_table(state)
    arrays = {name: np.asarray(state[name]) for name in table if name in state}
    problems = {
        "missing": sorted(table.keys() - state.keys()),
        "not understood": sorted(state.keys() - table.keys()),
        "of another shape": _misshaped(arrays, table),
    }
    if any(problems.values()):
        found = (f"{what}: {few(x)}" for what, x in problems.items() if x)
        raise ValueError(f"the state dict does not fit; {'; '.join(found)}")
    floats = {name: x.astype(np.float32) for name, x in arrays.items()}
    return _to_variables(floats, table)


def export_state_dict(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """A state dict in PyTorch's layouts, with the names that variables came with.

    An `EMANet` gets the names of the release, one with `concat_input` or an auxiliary
    head OpenMMLab's, a backbone alone those of the ImageNet files, torchvision's where
    the stem is not deep. `convert_state_dict` gives exactly the variables back.

    Raises:
        ValueError: variables that have no such name, or that are missing.

    Example:
        >>> import jax
        >>> from ema_jax import MODELS
        >>> model = MODELS["emanet_tiny"](num_classes=5)
        >>> image = np.zeros((1, 33, 33, 3), np.float32)
        >>> shapes = jax.eval_shape(
        ...     lambda key: model.init(key, image, train=False), jax.random.key(0)
        ... )
        >>> tree = jax.tree.map(lambda leaf: np.zeros(leaf.shape), shapes)
        >>> export_state_dict(tree)["fc0.conv.weight"].shape
        (64, 512, 3, 3)
    """
    leaves = flatten_dict(variables)
    table = _export_table(variables)
    paths = {target.path for target in table.values()}
    missing, nameless = paths - leaves.keys(), leaves.keys() - paths
    if missing or nameless:
        raise ValueError(
            f"the variables cannot be exported: missing {_join(missing)}; "
            f"without a name there: {_join(nameless)}"
        )
    return {
        name: np.ascontiguousarray(
            to_torch(np.asarray(leaves[target.path]), target.layout)
        )
        for name, target in table.items()
    }


def check_finite(variables: Mapping[str, Any]) -> None:
    """Raise a ValueError that names the first arrays with NaN or infinity, if any."""
    bad = [
        "/".join(path)
        for path, leaf in sorted(flatten_dict(variables).items())
        if not np.all(np.isfinite(leaf))
    ]
    if bad:
        raise ValueError(
            f"weights that are not finite, in {few(bad)}; take an earlier checkpoint, "
            "or allow_non_finite=True"
        )


def _own_variables(state: Mapping[str, Any]) -> dict[str, Any]:
    arrays = {name: np.asarray(x, np.float32) for name, x in state.items()}
    return unflatten_dict(arrays, sep=SEPARATOR)


def _find_family(names: Iterable[str]) -> Family:
    names = sorted(map(str, names))
    for family in FAMILIES.values():
        if any(name.startswith(family.prefix) for name in names):
            return family
    raise ValueError(
        f"the state dict is of no known family ({', '.join(FAMILIES)}); "
        f"its first names are {names[:5]}"
    )


def _misshaped(arrays: Mapping[str, np.ndarray], table: KeyTable) -> list[str]:
    """What is wrong with the shape of each array, as one line of text."""
    forms: dict[str, tuple] = {k: FORMS[table[k].layout] for k in arrays}
    good = {k: x for k, x in arrays.items() if has_form(x.shape, table[k].layout)}
    wrong = {name: forms[name] for name in arrays.keys() - good.keys()}
    for name, shape in _expected(good, table).items():
        if shape != good[name].shape:
            wrong[name] = shape
    text = {name: str(shape).replace("'", "") for name, shape in wrong.items()}
    return [f"{k} {arrays[k].shape}, not {text[k]}" for k in sorted(wrong)]


def _expected(
    arrays: Mapping[str, np.ndarray], table: KeyTable
) -> dict[str, tuple[int, ...]]:
    """Shape of each array in the network that most of them belong to."""
    tree = _to_variables(arrays, table)
    try:
        if not is_backbone(tree):  # no other shape depends on K
            context = tree["batch_stats"]["head"]["context"]
            context.setdefault("bases", np.zeros((1, 1)))
        shapes = expected_shapes(**model_options(tree))
    except KeyError:  # a whole layer that decides on shapes is missing
        return {}
    targets = {k: table[k] for k in arrays if table[k].path in shapes}
    return {
        name: to_torch(np.broadcast_to(0, shapes[target.path]), target.layout).shape
        for name, target in targets.items()
    }


def _to_variables(arrays: Mapping[str, np.ndarray], table: KeyTable) -> dict[str, Any]:
    return unflatten_dict(
        {
            table[name].path: to_jax(array, table[name].layout)
            for name, array in arrays.items()
        }
    )


def _export_table(variables: Mapping[str, Any]) -> KeyTable:
    try:
        options = model_options(variables)
    except KeyError as error:
        raise ValueError(
            f"the variables are of no EMANet: {error} is missing"
        ) from error
    if backbone_kind(variables["params"]["backbone"]) is EfficientNetLite:
        if is_backbone(variables):
            return efficientnet_lite_keys(len(variables["params"]["backbone"]) - 1)
        raise ValueError("the variables are of no published EMANet")
    counts, deep = options["stage_sizes"], options["stem"] != "conv7"
    if is_backbone(variables):
        return resnet_keys(counts, deep=deep)
    parts = {key: options[key] for key in ("concat_input", "auxiliary_head")}
    if any(parts.values()):
        return mmseg_keys(counts, deep=deep, **parts)
    return emanet_keys(counts, deep=deep)


def _join(paths: Iterable[tuple[str, ...]]) -> str:
    return few("/".join(path) for path in sorted(paths)) or "nothing"
