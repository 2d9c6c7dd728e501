"""The file of ONNX, by jax2onnx."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jax
import jax.numpy as jnp
from jax import Array

from ema_jax import pooling
from train.export.plain import plain
from train.user.errors import UserError


def write_onnx(
    path: Path,
    program: Callable[[Array], dict[str, Array]],
    shape: tuple[int, int, int],
    about: str,
) -> None:
    """Write a program for one image, and what is said about it as metadata.

    Args:
        path: of the file.
        program: uint8 (1, H, W, C) to named arrays.
        shape: (H, W, C).
        about: JSON.

    Raises:
        UserError: jax2onnx is not installed, or cannot convert the network.
        OSError: the file cannot be written.
    """
    onnx, to_onnx = converter()
    images = jax.ShapeDtypeStruct((1, *shape), jnp.uint8)
    names = sorted(jax.eval_shape(program, images))
    with patch.object(pooling.LARGEST, "default", pooling.by_shifts):
        traced = plain(program, images)  # jax2onnx pools over the wrong axes
    try:
        model = to_onnx(traced, [images], input_names=["images"], output_names=names)
    except Exception as error:  # of any kind, by what it does not know
        reason = str(error).partition("\n")[0]
        raise UserError(f"jax2onnx refuses this network: {reason}") from error
    onnx.helper.set_model_props(model, {"about": about})
    path.write_bytes(model.SerializeToString())


def converter() -> tuple[Any, Callable[..., Any]]:
    """The package `onnx`, and the function `jax2onnx.to_onnx`.

    Raises:
        UserError: they are not installed.
    """
    logging.getLogger("jax2onnx").setLevel(logging.ERROR)  # its examples lack more
    try:
        import onnx
        from jax2onnx import to_onnx
    except ImportError as error:
        raise UserError(
            f"--format=onnx needs other packages ({error}); docs/export.md says how to "
            "install them"
        ) from error
    return onnx, to_onnx
