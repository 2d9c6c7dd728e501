"""Weights of other projects, rewritten as one safe file."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from safetensors.numpy import save

from ema_jax.weights import export_state_dict
from train.user.errors import UserError

SUFFIX = ".safetensors"


def backbone_of(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The backbone of a network's variables, without its heads.

    Example:
        >>> backbone_of({"params": {"backbone": {"w": 1}, "head": {"w": 2}}})
        {'params': {'backbone': {'w': 1}}}
    """
    return {kind: {"backbone": tree["backbone"]} for kind, tree in variables.items()}


def save_weights(variables: Mapping[str, Any], output: str) -> str:
    """Write variables as `.safetensors`, without the rest of where they came from.

    The names are the release's, OpenMMLab's for its variant and torchvision's for a
    backbone; see `export_state_dict`. The output appears complete or not at all.

    Args:
        variables: of a network, or of a backbone alone.
        output: path of the new file, ending in `.safetensors`.

    Returns:
        One line that says what was written.

    Raises:
        UserError: a network whose parameters have no foreign names, or an output that
            cannot be written.
    """
    if not output.endswith(SUFFIX):
        raise UserError(f"{output} is no name for the weights; end it in {SUFFIX}")
    try:
        arrays = export_state_dict(variables)
    except ValueError as error:
        raise UserError(f"{error}; --backbone writes what has names") from error
    try:
        _write(Path(output), save(arrays))
    except OSError as error:
        raise UserError(f"{output} cannot be written ({error.strerror})") from error
    count = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    return f"{output}: {len(arrays)} arrays, {count / 1e6:.2f} M parameters"


def _write(path: Path, content: bytes) -> None:
    """Write in a folder beside `path`, then move into its place."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".convert-") as folder:
        part = Path(folder) / path.name
        part.write_bytes(content)
        os.replace(part, path)
