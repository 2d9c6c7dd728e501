"""Our side of foreign.npz: state dicts in the naming of other projects."""

import numpy as np

from ema_jax import ResNet
from ema_jax.weights import model_options
from tests.golden import cases, seeded
from tests.golden.foreign_cases import split_shapes
from tests.golden.rebuild import golden


def state_dict(model: str) -> dict[str, np.ndarray]:
    """Seeded weights of a network of foreign.npz, under its own names."""
    shapes = split_shapes(golden("foreign")[f"{model}/shapes"])
    return seeded.state_dict(shapes, seed=cases.WEIGHT_SEED)


def backbone(variables: dict, output_stride: int) -> tuple[ResNet, dict]:
    """The `ResNet` of a converted ImageNet file, and its own variables."""
    options = model_options(variables)
    model = ResNet(**options, output_stride=output_stride, multi_grid=())
    return model, {kind: tree["backbone"] for kind, tree in variables.items()}
