"""The costs of a training, against those of its own program."""

from pathlib import Path

import jax
import pytest

from train.ablation.cost import costs
from train.config import load_config
from train.model import build_model
from train.profile.macs import multiply_adds
from train.profile.programs import Program
from train.state import init_variables

ROOT = Path(__file__).parents[3]


@pytest.fixture
def one_step(monkeypatch):
    """The sizes for which a training would be compiled."""
    sizes = []
    monkeypatch.setattr(
        "train.ablation.cost.training_program",
        lambda model, size, batch, device: (
            sizes.append((size, batch)) or Program(0, ())
        ),
    )
    monkeypatch.setattr("train.ablation.cost.peak_memory", lambda program: 77)
    return sizes


def test_costs(one_step):
    config = load_config(
        str(ROOT / "configs" / "shapes.py"), ["--config.data.crop_size=(33, 41)"]
    )
    found = costs(config, num_classes=7)
    assert found["training_memory"] == 77
    assert one_step == [(41, 16)]

    model = build_model(config.model, 7)
    variables = jax.eval_shape(lambda: init_variables(model, 0))
    image = jax.ShapeDtypeStruct((1, 41, 41, 3), "float32")
    whole = multiply_adds(lambda v, x: model.apply(v, x, train=False), variables, image)
    # what is left out there is the resizing of the logits
    assert 0.97 * whole < found["multiply_adds"] < whole
