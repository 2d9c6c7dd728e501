"""SIGTERM in one process: saved, and gone on with on another number of devices."""

import os
import signal

import jax
import pytest

from ema_jax import MODELS
from tests.faults.trainings import Lab, scalars
from tests.micro import NANO
from train.configuration.config import load_config
from train.devices.mesh import make_mesh
from train.training import loop, plan
from train.training.report import Report
from train.user.errors import Preempted


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp("lab"))
    overrides = ["--config.optimizer.learning_rate=0.0001", "--config.num_steps=9"]
    overrides += ["--config.evaluation.every=6", "--config.checkpoint.every=100"]
    overrides += ["--config.evaluation.num_pictures=0"]
    # of eight seeds the first has a pixel that rounding decides, 2.9e-4 of the score
    overrides += ["--config.seed=6"]
    return load_config(str(lab.config), overrides)


@pytest.fixture
def train(config, monkeypatch):
    """train(workdir, devices, last): SIGTERM comes during the step `last`."""
    step = Report.step
    monkeypatch.setitem(MODELS, "nano", NANO)

    def run(workdir, devices, last=None):
        mesh = make_mesh(jax.devices()[:devices])
        monkeypatch.setattr(plan, "configured_mesh", lambda config: mesh)

        def send(report, metrics):
            step(report, metrics)
            send.count += 1
            if send.count == last:
                os.kill(os.getpid(), signal.SIGTERM)

        steps = workdir / "checkpoints"
        send.count = max(
            (int(p.name) for p in steps.glob("[0-9]*") if p.is_dir()), default=0
        )
        monkeypatch.setattr(Report, "step", send)
        return loop.train(config, str(workdir))

    return run


def test_eight_devices_then_two_then_four_equal_the_uninterrupted_training(
    train, tmp_path
):
    """The step of the second SIGTERM has an evaluation, which does not delay it."""
    before = signal.getsignal(signal.SIGTERM)
    train(tmp_path / "whole", 4)
    for devices, last in ((8, 3), (2, 6)):
        with pytest.raises(Preempted, match=f"stopped after step {last}, which is sav"):
            train(tmp_path / "many", devices, last)
        assert (tmp_path / f"many/checkpoints/{last}").is_dir()
        assert signal.getsignal(signal.SIGTERM) is before
    state = train(tmp_path / "many", 4)
    assert int(state.step) == 9
    whole, many = (scalars(tmp_path / name) for name in ("whole", "many"))
    assert list(many["train/loss"]) == list(range(1, 10))
    assert many["train/loss"] == pytest.approx(whole["train/loss"], rel=1e-4)
    assert list(whole["val/mean_iou"]) == [6, 9]
    assert many["val/mean_iou"][9] == pytest.approx(whole["val/mean_iou"][9], rel=1e-4)
