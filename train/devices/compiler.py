"""What the compilers are told."""

import os

import jax
import jax.numpy as jnp

from train.devices.mesh import DeviceMesh

SPACE_TO_BATCH = (
    "xla_tpu_run_space_to_batch",
    "xla_tpu_run_space_to_batch_on_new_platforms",
)
"""What has the one for TPUs cut images into pieces, as a larger batch."""
LEVEL = "xla_backend_optimization_level"
"""How hard the compiler for CPUs tries, up to 3."""


def compiler_options(
    mesh: DeviceMesh, *, space_to_batch: bool
) -> dict[str, bool] | None:
    """Options of `jax.jit(…, compiler_options=…)` for a mesh; None but on TPUs.

    With few images a chip, "space to batch" is what the compiler does by itself. Every
    convolution then needs the borders of the pieces, and copies them: more than half of
    all bytes that move. A compiler that does not know an option is not told.

    Args:
        mesh: that the program runs on.
        space_to_batch: leave the compiler to it.
    """
    devices = mesh.devices.flatten()
    if space_to_batch or devices[0].platform != "tpu":
        return None
    here = [d for d in devices if d.process_index == jax.process_index()]
    device = (here or devices)[0]
    return {name: False for name in SPACE_TO_BATCH if _is_known(name, device)}


def options_of_one_run() -> dict[str, int] | None:
    """Options for what runs here once, to compile it sooner; None but on CPUs.

    A fresh state takes half the time, and is the same to the last bit. What `XLA_FLAGS`
    says of the level counts.
    """
    on_cpu = jax.default_backend() == "cpu"
    given = LEVEL in os.environ.get("XLA_FLAGS", "")
    return {LEVEL: 1} if on_cpu and not given else None


def _is_known(name: str, device: jax.Device) -> bool:
    """Whether the compiler for a device has this option, asked of a small program."""
    scalar = jax.ShapeDtypeStruct(
        (), jnp.float32, sharding=jax.sharding.SingleDeviceSharding(device)
    )
    lowered = jax.jit(lambda x: x + 1).lower(scalar)
    try:
        lowered.compile(compiler_options={name: False})
    except jax.errors.JaxRuntimeError as error:
        if "No such compile option" not in str(error):
            raise
        return False
    return True
