"""The file that JAX alone reads: a program of `jax.export`, and what it means."""

from collections.abc import Callable, Sequence
from pathlib import Path
from zipfile import ZipFile

import jax
import jax.numpy as jnp
from jax import Array, export

from train.user.errors import UserError

PLATFORMS = ("cpu", "cuda", "tpu")


def write_stablehlo(
    path: Path,
    program: Callable[[Array], dict[str, Array]],
    shape: tuple[int, int, int],
    about: str,
) -> None:
    """Write a program for any number of images, and what is said about it.

    Args:
        path: of the zip file.
        program: uint8 (B, H, W, C) to named arrays.
        shape: (H, W, C).
        about: JSON.

    Raises:
        UserError: it calls what JAX does not promise to keep.
        OSError: the file cannot be written.
    """
    content = serialized(program, shape, PLATFORMS)
    with ZipFile(path, "w") as file:
        file.writestr("program.jax", content)
        file.writestr("about.json", about)


def serialized(
    program: Callable[[Array], dict[str, Array]],
    shape: tuple[int, int, int],
    platforms: Sequence[str],
) -> bytes:
    """A program for some platforms and any number of images."""
    batch = export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((*batch, *shape), jnp.uint8)
    try:
        return bytes(
            export.export(jax.jit(program), platforms=platforms)(images).serialize()
        )
    except (NotImplementedError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"jax.export refuses this network: {reason}") from error
