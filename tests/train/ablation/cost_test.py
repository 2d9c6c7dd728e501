"""The costs of a training, against those of its own program."""

from pathlib import Path
from types import SimpleNamespace

import jax

from ema_jax import MODELS
from ema_jax.segmenter import variable_shapes
from tests.micro import NANO
from train.ablation import cost
from train.ablation.folder import COST, Specification, read_json
from train.aot.compile import DoesNotFitError
from train.configuration.config import load_config
from train.devices.mesh import make_mesh
from train.model.build import build_model
from train.profile.macs import multiply_adds

ROOT = Path(__file__).parents[3]


def load(*overrides):
    return load_config(
        str(ROOT / "configs" / "shapes.py"),
        [f"--config.{override}" for override in overrides],
    )


def test_multiply_adds(monkeypatch):
    monkeypatch.setattr("train.ablation.cost.compile_step", lambda *_: None)
    monkeypatch.setattr("train.ablation.cost.peak_memory", lambda program: 77)
    config = load("data.crop_size=(33, 41)")
    found = cost.costs(config, num_classes=7)
    assert found["training_memory"] == 77

    model = build_model(config.model, 7)
    variables = variable_shapes(model)
    image = jax.ShapeDtypeStruct((1, 41, 41, 3), "float32")
    whole = multiply_adds(lambda v, x: model.apply(v, x, train=False), variables, image)
    # what is left out there is the resizing of the logits
    assert 0.97 * whole < found["multiply_adds"] < whole


def test_the_memory_is_that_of_the_step_of_the_training(monkeypatch):
    """Of pieces, whose arrays are smaller than those of a whole batch."""
    monkeypatch.setitem(MODELS, "nano", NANO)
    one_device = make_mesh(jax.devices()[:1])
    monkeypatch.setattr("train.ablation.cost.configured_mesh", lambda _: one_device)
    sizes = ("model.name=nano", "data.crop_size=(65, 65)", "batch_size=8")
    whole, pieces = (
        cost.costs(load(*sizes, f"optimizer.accumulation={n}"), 3)["training_memory"]
        for n in (1, 8)
    )
    assert pieces < 0.5 * whole


def test_a_network_that_does_not_fit(tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise DoesNotFitError("it needs 3 GiB")

    config = load("data.crop_size=(33, 33)")
    folder = tmp_path / "K=4" / "seed0"
    Specification(config, "data").write(folder)
    monkeypatch.setattr(cost, "end_with_parent", lambda: None)
    monkeypatch.setattr(cost, "log_to_stderr", lambda: None)
    dataset = SimpleNamespace(num_classes=7)
    monkeypatch.setattr(cost, "open_dataset", lambda name, **_: dataset)
    monkeypatch.setattr(cost, "costs", fail)
    assert cost.main(folder) == 2
    assert capsys.readouterr().err == "error: it needs 3 GiB\n"
    assert read_json(folder.parent / COST) is None

    monkeypatch.setattr(cost, "costs", lambda config, n: {"multiply_adds": n})
    assert cost.main(folder) == 0
    assert read_json(folder.parent / COST) == {"multiply_adds": 7}
