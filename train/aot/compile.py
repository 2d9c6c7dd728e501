"""The training step of a config, compiled for TPUs that need not be there."""

import importlib.util
import os
import re
from collections import Counter
from collections.abc import Sequence
from textwrap import shorten
from typing import Any, NamedTuple, cast

import jax
from jax.experimental import topologies
from jax.stages import Compiled
from ml_collections import ConfigDict

from ema_jax.segmenter import in_channels
from train.aot.bound import least
from train.devices.memory import exhausted
from train.devices.mesh import DeviceMesh, make_mesh
from train.devices.partition import (
    abstract_batch,
    check_batch,
    check_pooling,
    crop_canvas,
)
from train.model.build import build_model
from train.update.configured import configured_updates
from train.update.state import TrainState
from train.update.step import TrainStep
from train.user.errors import UserError

EXAMPLES = "v4:2x2x1, v5e:4x4, v5e:16x16, v5p:2x2x2, v6e:4x4"
ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",  # or libtpu waits for a server of the cloud
    "TPU_WORKER_HOSTNAMES": "localhost",  # or it complains, of the next one too
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # no device is taken, and none locked
}
"""What libtpu is told, where it is not told already; the slice is another matter."""

_TOPOLOGY = re.compile(r"v\w+:[1-9]\d*(x[1-9]\d*){1,2}")


class DoesNotFitError(Exception):
    """The compiler finds no way to place a program in the memory of a chip."""


def slice_devices(topology: str) -> Sequence[jax.Device]:
    """The chips of a TPU slice, such as "v5e:4x4", to compile for and nothing else.

    The two cores of a v4 or v5p are one device, as on the machines. To be called before
    any use of a device: jax looks for no TPU afterwards.

    Raises:
        UserError: an unknown slice, or libtpu is not installed.
    """
    if _TOPOLOGY.fullmatch(topology) is None:
        raise UserError(f"--topology={topology} is no slice; give one as {EXAMPLES}")
    given = "TPU_LIBRARY_PATH" in os.environ
    if not given and importlib.util.find_spec("libtpu") is None:
        raise UserError(
            f"--topology={topology} needs libtpu, which holds the compiler for TPUs; "
            'pip install "jax[tpu]"'
        )
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    options = {"chip_config_name": "megacore"} if topology.startswith("v4:") else {}
    jax.config.update("jax_platforms", "cpu")
    try:
        found = topologies.get_topology_desc(topology, "tpu", **options).devices
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        reason = shorten(str(error), 200, placeholder=" …")
        raise UserError(
            f"--topology={topology} cannot be compiled for ({reason}); "
            f"give one as {EXAMPLES}"
        ) from error
    return sorted(found, key=lambda device: (device.process_index, device.id))


class Traced(NamedTuple):
    """A training step, and shapes of what it takes."""

    step: TrainStep
    state: TrainState
    batch: dict[str, jax.ShapeDtypeStruct]


def trace_step(config: ConfigDict, num_classes: int, mesh: DeviceMesh) -> Traced:
    """The training step of a config, from shapes alone.

    Args:
        config: of the training.
        num_classes: of its data.
        mesh: of the devices that it would run on.

    Raises:
        UserError: a mistake in the config, or what the mesh does not divide.
    """
    check_batch(config, mesh)
    model = build_model(config.model, num_classes, config.data.crop_size)
    check_pooling(config, model)
    canvas = crop_canvas(config, model, mesh)
    batch = abstract_batch(config.batch_size, canvas, in_channels(model))
    updates = configured_updates(config, model, mesh, config.num_steps)
    return Traced(updates.step, updates.state, batch)


def compile_step(config: ConfigDict, num_classes: int, mesh: DeviceMesh) -> Compiled:
    """Compile what `trace_step` gives.

    Raises:
        UserError: as there.
        DoesNotFitError: the memory of a device is too small.
    """
    step, state, batch = trace_step(config, num_classes, mesh)
    lowered = cast(Any, step).lower(state, batch)
    try:
        return lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if not exhausted(error):
            raise
        raise DoesNotFitError(shorten(str(error), 300, placeholder=" …")) from error


def least_bytes(config: ConfigDict, num_classes: int, mesh: DeviceMesh) -> Counter[str]:
    """`least` for the images of one chip; empty where several chips share an image."""
    if mesh.shape["space"] > 1:
        return Counter()
    own = ConfigDict(config)
    own.batch_size = config.batch_size // mesh.size
    own.optimizer.norm_groups = max(1, config.optimizer.norm_groups // mesh.size)
    own.mesh.shard_optimizer = False
    return least(*trace_step(own, num_classes, make_mesh(jax.devices()[:1])))
