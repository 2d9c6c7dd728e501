"""Weights from the files of PyTorch."""

import importlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from types import ModuleType
from typing import Any

import numpy as np

from ema_jax.weights.convert import convert_state_dict

SAFETENSORS = ".safetensors"


def load_torch(path: str | Path) -> dict[str, Any]:
    """Variables from a file of PyTorch's; see `convert_state_dict`.

    Args:
        path: a `.safetensors`, or what `torch.save` wrote (`.pth`, `.pt`), in its zip
            or its older pickle format. Nothing in a pickle is executed.

    Returns:
        {"params": …, "batch_stats": …}, with the backbone alone for a ResNet.

    Raises:
        ValueError: a truncated file, a pickle that holds more than arrays, a file of
            no known family, or one that does not fit its family.
        OSError: the file cannot be read.
        ImportError: PyTorch, or safetensors, is not installed.
    """
    content, _ = read_state_dict(path)
    try:
        return convert_state_dict(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_state_dict(path: str | Path) -> tuple[Mapping[str, Any], dict[str, str]]:
    """Names and arrays of a file, and its metadata, which only safetensors has.

    Raises: as `load_torch`.
    """
    with open(path, "rb"):  # libraries have errors of their own for a missing file
        pass
    if Path(path).suffix == SAFETENSORS:
        return _read_safetensors(Path(path))
    content = _read_pickle(Path(path))
    if not isinstance(content, Mapping):
        raise ValueError(f"{path}: holds a {type(content).__name__}, no state dict")
    return content, {}


def _read_safetensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    safe_open = import_reader("safetensors", path).safe_open
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return arrays, file.metadata() or {}
    except Exception as error:  # its own types, and KeyError for a type it lacks
        raise ValueError(
            f"{path}: no complete safetensors file ({_reason(error)}); fetch it again"
        ) from error


def _read_pickle(path: Path) -> Any:
    torch = import_reader("torch", path)
    try:
        with warnings.catch_warnings():  # of other pickle protocols, also when it reads
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # broken bytes can raise anything
        reason = _reason(error.__context__ or error)
        if "GLOBAL" in reason:
            raise ValueError(
                f"{path}: holds more than arrays, and reading that could run code "
                f"({reason}); save its state dict alone, or as {SAFETENSORS}"
            ) from error
        raise ValueError(
            f"{path}: no complete file of PyTorch's ({reason}); fetch it again"
        ) from error
    return _to_numpy(content, torch)


def _to_numpy(content: Any, torch: ModuleType) -> Any:
    """The same nested mappings with tensors as arrays."""
    if isinstance(content, Mapping):
        return {key: _to_numpy(value, torch) for key, value in content.items()}
    if isinstance(content, torch.Tensor):
        content = content.detach()
        return (content.float() if content.is_floating_point() else content).numpy()
    return content


def import_reader(name: str, path: Path) -> ModuleType:
    """Import what reads a file: the library itself requires jax and flax alone."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ImportError(
            f"{path}: reading it needs {package}; pip install 'ema-jax[torch]'"
        ) from error


def _reason(error: BaseException) -> str:
    """The first sentence of an error, on one line."""
    text = str(error).strip() or type(error).__name__
    return shorten(text.splitlines()[0].partition(". ")[0], 120)
