"""What a training costs: work and memory, without running it."""

import jax
from ml_collections import ConfigDict

from train.memory import peak_memory
from train.model import build_model
from train.profile.counts import count
from train.profile.programs import training_program


def costs(config: ConfigDict, num_classes: int) -> dict[str, int]:
    """Multiply-adds of a forward pass, and memory of an update, on training crops.

    A crop that is not square is taken for one of its longer side.

    Returns:
        "multiply_adds" of one crop, "training_memory" in bytes of a batch of them on
        one device.
    """
    model = build_model(config.model, num_classes, config.data.crop_size)
    size = max(config.data.crop_size)
    device = jax.devices()[0]
    program = training_program(model, size, config.batch_size, device)
    return {
        "multiply_adds": count(model, size, batch=1).multiply_adds.total,
        "training_memory": peak_memory(program.compiled),
    }
