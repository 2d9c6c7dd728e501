"""The file of TensorFlow Lite, by LiteRT's converter."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import jax
import jax.numpy as jnp
from jax import Array, export

from train.export.plain import plain
from train.user.errors import UserError


def write_tflite(
    path: Path,
    program: Callable[[Array], dict[str, Array]],
    shape: tuple[int, int, int],
    about: str,
) -> None:
    """Write a program for one image; what is said about it is a zip at its end.

    Args:
        path: of the file.
        program: uint8 (1, H, W, C) to named arrays.
        shape: (H, W, C).
        about: JSON.

    Raises:
        UserError: the converter is not installed, or cannot convert the network.
        OSError: the file cannot be written.
    """
    ir, passes, converter = litert()
    images = jax.ShapeDtypeStruct((1, *shape), jnp.uint8)
    traced = jax.jit(plain(program, images))
    exported = export.export(traced, platforms=["cpu"])(images)
    names = sorted(jax.eval_shape(program, images))
    config = converter.ConvertToTFLConfig()
    config.model_origin_framework = "JAX"
    context = ir.Context()
    converter.prepare_mlir_context(context)
    try:
        with context:
            module = ir.Module.parse(exported.mlir_module())
            converter.set_signature(
                module.operation, "serving_default", ["images"], names
            )
            converter.run_convert_to_tfl_passes(module, passes.PassManager(), config)
            content = converter.export_flatbuffer_to_bytes(module.operation)
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"LiteRT's converter refuses this network: {reason}") from error
    path.write_bytes(content)
    with ZipFile(path, "a") as file:
        file.writestr("about.json", about)


def litert() -> tuple[Any, Any, Any]:
    """The modules of LiteRT's converter: its MLIR, its passes, and itself.

    Raises:
        UserError: it is not installed.
    """
    try:
        from litert_converter.mlir import ir, passmanager
        from litert_converter.mlir._mlir_libs import converter_api_ext
    except ImportError as error:
        raise UserError(
            f"--format=tflite needs another package ({error}); pip install "
            "litert-converter"
        ) from error
    return ir, passmanager, converter_api_ext
