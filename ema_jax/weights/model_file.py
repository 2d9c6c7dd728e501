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
from ema_jax.preprocessing import Preprocessing
from ema_jax.segmenter import preprocessing_of
from ema_jax.weights.convert import SEPARATOR, convert_state_dict, export_state_dict
from ema_jax.weights.describe import few
from ema_jax.weights.file_kind import SUFFIX
from ema_jax.weights.load import import_reader, read_state_dict

VERSION = 1
"""Of the format; raised when an older library could not read the file."""

KEY = "ema_jax"
"""Of the entry of the file's metadata that holds the rest, as JSON."""


class Description(NamedTuple):
    """What a file says of its network beside the weights.

    Attributes:
        network: its name and options.
        classes: that it tells apart.
        preprocessing: that its weights expect; None: the network's own.
    """

    network: Network
    classes: Classes
    preprocessing: Preprocessing | None = None


def save_model(
    path: str | Path,
    variables: Mapping[str, Any],
    description: Description | None,
    *,
    half: bool = False,
) -> int:
    """Write a trained network as one `.safetensors`, complete or not at all.

    An `EMANet` gets the names and layouts of its published weights, see
    `export_state_dict`; any other network those of its own variables.

    Args:
        path: of the file, ending in `.safetensors`.
        variables: {"params": …, "batch_stats": …}.
        description: whose they are; None: a part of a network, such as a backbone.
        half: in float16, half as large; they are float32 again when they are loaded.

    Returns:
        The number of arrays.

    Raises:
        ValueError: another ending, or numbers too large for float16.
        OSError: the file cannot be written.
        ImportError: safetensors is not installed.
    """
    metadata = dict[str, str]()
    if description is not None:
        network, classes, stated = description
        preprocessing = stated or preprocessing_of(network.build())
        metadata[KEY] = json.dumps(
            {
                "version": VERSION,
                "network": network._asdict(),
                "classes": classes.to_json(),
                "preprocessing": preprocessing.to_json(),
            }
        )
    try:
        arrays = export_state_dict(variables)
    except ValueError:  # no published names
        arrays = own_names(variables)
    _write(Path(path), in_half(arrays) if half else arrays, metadata)
    return len(arrays)


def load_model(
    path: str | Path, *, allow_non_finite: bool = False
) -> tuple[Description | None, dict[str, Any]]:
    """The description and the variables that `save_model` wrote.

    Of any other file that `load_torch` reads the description is None.

    Raises:
        ValueError: a truncated file, one of a newer version of this library, arrays
            that are of no known network, or such as are not finite.
        OSError, ImportError: as `load_torch`.
    """
    content, metadata = read_state_dict(path)
    try:
        return _described(metadata), convert_state_dict(
            content, allow_non_finite=allow_non_finite
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _described(metadata: Mapping[str, str]) -> Description | None:
    """What the metadata of a file says."""
    if KEY not in metadata:
        return None
    try:
        values = json.loads(metadata[KEY])
        if values["version"] <= VERSION:
            return _parsed(values)
    except (KeyError, TypeError, ValueError) as error:
        reason = shorten(f"{type(error).__name__}: {error}", 100)
        raise ValueError(
            f"what it says of its network is damaged ({reason}); convert it again"
        ) from error
    raise ValueError(
        f"the format has version {values['version']}, and this ema_jax reads up to "
        f"{VERSION}; upgrade it"
    )


def _parsed(values: Mapping[str, Any]) -> Description:
    network = values["network"]
    return Description(
        Network(network["name"], network["num_classes"], _tuples(network)),
        Classes.from_json(values["classes"]),
        Preprocessing.from_json(values["preprocessing"]),
    )


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
    return {name: np.asarray(leaf, order="C") for name, leaf in leaves.items()}


def in_half(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays in float16.

    Raises:
        ValueError: numbers that would become infinite; names their arrays.

    Example:
        >>> in_half({"scale": np.float32([1, 1e6])})
        Traceback (most recent call last):
        ValueError: numbers too large for float16, in scale; keep them in float32
    """
    with np.errstate(over="ignore"):
        halves = {name: x.astype(np.float16) for name, x in arrays.items()}
    large = [k for k, x in halves.items() if (np.isinf(x) & ~np.isinf(arrays[k])).any()]
    if large:
        raise ValueError(
            f"numbers too large for float16, in {few(large)}; keep them in float32"
        )
    return halves


def _write(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write in a folder beside `path`, then move into its place."""
    if path.suffix != SUFFIX:
        raise ValueError(f"{path} is no name for the weights; end it in {SUFFIX}")
    content = import_reader("safetensors.numpy", path).save(arrays, metadata)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".convert-") as folder:
        part = Path(folder) / path.name
        part.write_bytes(content)
        os.replace(part, path)
