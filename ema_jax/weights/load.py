"""Weights from files: safetensors, and those of PyTorch."""

import importlib
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from textwrap import shorten
from types import ModuleType
from typing import Any

from ema_jax.weights.convert import convert_state_dict
from ema_jax.weights.file_kind import SAFETENSORS, SAVE, SUFFIX, ZIP, file_kind
from ema_jax.weights.torch_file import (
    ForeignError,
    Tensor,
    TorchFile,
    open_pickle,
    open_zip,
)
from ema_jax.weights.unpickle import RefusedError
from ema_jax.weights.unwrap import unwrap

log = logging.getLogger("ema_jax")


def load_torch(path: str | Path, *, allow_non_finite: bool = False) -> dict[str, Any]:
    """Variables from a file of PyTorch's; see `convert_state_dict`.

    Args:
        path: safetensors, or what `torch.save` wrote, in its zip or its older pickle
            format, whatever its name. PyTorch is not needed, and nothing in a pickle
            is executed.
        allow_non_finite: take weights with NaN or infinity as they are.

    Returns:
        {"params": …, "batch_stats": …}, with the backbone alone for one of ImageNet.

    Raises:
        ValueError: a truncated file, a pickle that holds more than tensors, containers
            and numbers, a file of another kind or of no known family, one that does
            not fit its family, or weights that are not finite.
        OSError: the file cannot be read.
        ImportError: safetensors is not installed.
    """
    content, _ = read_state_dict(path)
    try:
        return convert_state_dict(content, allow_non_finite=allow_non_finite)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_state_dict(path: str | Path) -> tuple[Mapping[str, Any], dict[str, str]]:
    """Names and arrays of a file, and its metadata, which only safetensors has.

    Raises: as `load_torch`.
    """
    path = Path(path)
    kind = file_kind(path)
    metadata = dict[str, str]()
    if kind == SAFETENSORS:
        content, metadata = _read_safetensors(path)
        content, seen = unwrap(content)
    else:
        content, seen = _read_torch(path, open_zip if kind == ZIP else open_pickle)
    if seen:
        log.info("%s: the weights are under %s", path, ", ".join(seen))
    return content, metadata


def _read_safetensors(path: Path) -> tuple[Mapping[str, Any], dict[str, str]]:
    safe_open = import_reader("safetensors", path).safe_open
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return arrays, file.metadata() or {}
    except Exception as error:  # its own types, and KeyError for a type it lacks
        raise ValueError(
            f"{path}: no complete safetensors file ({_reason(error)}); fetch it again"
        ) from error


def _read_torch(
    path: Path, opened: Callable[[Path], AbstractContextManager[TorchFile]]
) -> tuple[Mapping[str, Any], list[str]]:
    """Names and arrays, and what was seen through."""
    try:
        with opened(path) as file:
            if not isinstance(file.content, Mapping):
                kind = type(file.content).__name__
                raise ForeignError(f"holds a {kind}, no state dict")
            state, seen = unwrap(file.content)
            return {str(k): _array(file, x) for k, x in state.items()}, seen
    except ForeignError as error:
        raise ValueError(f"{path}: {error}") from error
    except RefusedError as error:
        module = str(error).startswith(("torch.nn.", "module"))
        raise ValueError(
            f"{path}: holds {'a whole module' if module else 'more than tensors'}, and "
            f"reading that could run code ({_reason(error)}); {SAVE}, or as {SUFFIX}"
        ) from error
    except Exception as error:  # broken bytes can raise anything
        raise ValueError(
            f"{path}: no complete file of PyTorch's ({_reason(error)}); fetch it again"
        ) from error


def _array(file: TorchFile, value: Any) -> Any:
    return file.array(value) if isinstance(value, Tensor) else value


def import_reader(name: str, path: Path) -> ModuleType:
    """Import what reads a file: the library itself requires jax and flax alone."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ImportError(
            f"{path}: reading it needs {package}; pip install {package}"
        ) from error


def _reason(error: BaseException) -> str:
    """The first sentence of an error, on one line; it may quote damaged bytes."""
    text = str(error).strip() or type(error).__name__
    line = text.splitlines()[0].partition(". ")[0]
    return shorten("".join(c if c.isprintable() else "?" for c in line), 120)
