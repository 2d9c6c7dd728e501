"""One file for a trained network: its weights, and what else its use needs."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict

from ema_jax.classes import Classes
from ema_jax.models import Network
from ema_jax.preprocessing import IMAGENET, Preprocessing
from ema_jax.weights.convert import SEPARATOR, convert_state_dict, export_state_dict
from ema_jax.weights.load import SAFETENSORS, import_reader, read_safetensors

VERSION = 1
"""Of the format; raised when an older library could not read the file."""

KEY = "ema_jax"
"""Of the entry of the file's metadata that holds the rest, as JSON."""


class Model(NamedTuple):
    """A trained network.

    Attributes:
        network: its name and options.
        classes: that it tells apart.
        preprocessing: that its weights expect.
    """

    network: Network
    classes: Classes
    preprocessing: Preprocessing = IMAGENET


def save_model(path: str | Path, variables: Mapping[str, Any], model: Model) -> int:
    """Write variables and model as one `.safetensors`, complete or not at all.

    An `EMANet` gets the names and layouts of its published weights, see
    `export_state_dict`; any other network those of its own variables.

    Args:
        path: of the file, ending in `.safetensors`.
        variables: {"params": …, "batch_stats": …}.
        model: whose they are.

    Returns:
        The number of arrays.

    Raises:
        ValueError: another ending.
        OSError: the file cannot be written.
        ImportError: safetensors is not installed.
    """
    described = {
        "version": VERSION,
        "network": model.network._asdict(),
        "classes": model.classes.to_json(),
        "preprocessing": model.preprocessing.to_json(),
    }
    try:
        arrays = export_state_dict(variables)
    except ValueError:  # no published names
        arrays = own_names(variables)
    write_safetensors(path, arrays, {KEY: json.dumps(described)})
    return len(arrays)


def load_model(path: str | Path) -> tuple[Model | None, dict[str, Any]]:
    """What `save_model` wrote: the model, and its variables.

    The model is None where a `.safetensors` does not say whose weights it holds.

    Raises:
        ValueError: a truncated file, one of a newer version of this library, or
            arrays that are of no known network.
        OSError: the file cannot be read.
        ImportError: safetensors is not installed.
    """
    content, metadata = read_safetensors(Path(path))
    try:
        return _described(metadata), convert_state_dict(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _described(metadata: Mapping[str, str]) -> Model | None:
    """The model of a file's metadata."""
    if KEY not in metadata:
        return None
    try:
        values = json.loads(metadata[KEY])
        version = values["version"]
        if version > VERSION:
            raise ValueError(
                f"the format has version {version}, and this ema_jax reads up to "
                f"{VERSION}; upgrade it"
            )
        network = values["network"]
        return Model(
            Network(network["name"], network["num_classes"], _tuples(network)),
            Classes.from_json(values["classes"]),
            Preprocessing.from_json(values["preprocessing"]),
        )
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        reason = shorten(f"{type(error).__name__}: {error}", 100)
        raise ValueError(
            f"what it says of its network is damaged ({reason}); convert it again"
        ) from error


def _tuples(network: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a network; JSON's lists become tuples again."""
    options = network["options"].items()
    return {k: tuple(v) if isinstance(v, list) else v for k, v in options}


def own_names(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Arrays by the paths of variables, such as `params/head/classifier/bias`.

    Example:
        >>> own_names({"params": {"head": {"bias": np.zeros(2)}}})
        {'params/head/bias': array([0., 0.])}
    """
    leaves = flatten_dict(variables, sep=SEPARATOR)
    return {name: np.ascontiguousarray(leaf) for name, leaf in leaves.items()}


def write_safetensors(
    path: str | Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Write a file in a folder beside it, then move it into its place."""
    path = Path(path)
    if path.suffix != SAFETENSORS:
        raise ValueError(f"{path} is no name for the weights; end it in {SAFETENSORS}")
    content = import_reader("safetensors.numpy", path).save(
        dict(arrays), metadata=dict(metadata)
    )
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".convert-") as folder:
        part = Path(folder) / path.name
        part.write_bytes(content)
        os.replace(part, path)
