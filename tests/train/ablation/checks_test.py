"""What is wrong with a training is said before the first one runs."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from ema_jax import MODELS
from ema_jax.segmenter import variable_shapes
from tests.micro import MICRO
from train.ablation import command
from train.ablation.grid import load_ablation
from train.ablation.jobs import ROOT
from train.model.convert import save_weights
from train.user.errors import UserError


def source(split):
    if split not in ("train", "val"):
        raise UserError(f"there is no split {split!r}")


DATASET = SimpleNamespace(
    class_names=("a", "b"), num_classes=2, folder="records", source=source
)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setitem(MODELS, "micro", MICRO)


def check(*overrides, name="default"):
    ablation = load_ablation(
        str(ROOT / "configs" / "ablations" / f"{name}.py"),
        [f"--config.{text}" for text in ("seeds=(0,)", *overrides)],
    )
    command.check_trainings(ablation, {run.folder: DATASET for run in ablation.runs})


@pytest.mark.parametrize(
    ("overrides", "wanted"),
    [
        (["axes=(('g', ('model.gradient=unrol',)),)"], "config.model.gradient='unrol'"),
        (["axes=(('m', ('model.name=tinny',)),)"], "config.model.name='tinny' is unk"),
        (["model.name=fcn_tiny", "model.num_bases=4"], "config.model"),
        (
            ["model.name=fcn_tiny", "eval_iters=(1,)"],
            "config.model.name=fcn_tiny: config.eval_iters is for networks with EM",
        ),
        (["data.val_split=vall"], "there is no split 'vall'"),
        (["data.train_split=trian"], "there is no split 'trian'"),
        (["model.pretrained=none"], "config.model.pretrained is not set; give a file"),
        (
            ["model.pretrained=nowhere.safetensors"],
            "config.model.pretrained=nowhere.safetensors: ",
        ),
    ],
)
def test_a_mistake(overrides, wanted):
    named = any("model.name" in text for text in overrides)
    with pytest.raises(UserError) as error:
        check(*([] if named else ["model.name=micro"]), *overrides)
    assert str(error.value).startswith(wanted)
    assert "\n" not in str(error.value)


def test_what_can_be_trained():
    check("model.name=micro", "eval_iters=(1, 2)", name="bases")


def test_a_file_is_read_once_and_must_fit(tmp_path, monkeypatch):
    read, reads = command.read_start, []
    monkeypatch.setattr(
        command, "read_start", lambda *given: reads.append(given) or read(*given)
    )
    shapes = variable_shapes(MICRO(num_classes=2))
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    path = tmp_path / "micro.safetensors"
    save_weights(zeros, str(path))
    options = ["model.name=micro", f"model.pretrained={path}"]
    check(*options, "axes=(('λ', ('model.temperature=1.0', 'model.temperature=2.0')),)")
    assert len(reads) == 1
    with pytest.raises(UserError) as error:
        check(*options, name="bases")  # four are its bases, not one
    assert str(error.value).startswith(f"config.model.pretrained={path}: ")
