"""One run of an ablation: a training, and what is kept of it."""

import contextlib
import json
import subprocess
import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from PIL import Image

from ema_jax import MODELS
from tests.micro import NANO
from train.ablation import run
from train.ablation.folder import Specification, fail, result_of
from train.ablation.jobs import ROOT, environment
from train.ablation.sweep import IterationSweep
from train.configuration.config import load_config
from train.devices.mesh import make_mesh
from train.training.divergence import Divergence
from train.training.loop import Training
from train.user.errors import Preempted, UserError


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Four steps of a very small network on four images of one size."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for i in range(4):
            label = np.kron(rng.integers(0, 2, (2, 3)), np.ones((20, 20))).astype("u1")
            image = rng.integers(0, 80, (40, 60, 3), np.uint8) + 90 * label[..., None]
            for kind, array in (("images", image), ("labels", label)):
                path = root / kind / split / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    (root / "classes.txt").write_text("dark\nbright\n")
    overrides = {
        "num_steps": 4,
        "batch_size": 4,
        "log_every": 1,
        "model.name": "nano",
        "data.name": "folder",
        "data.root": root,
        "data.data_dir": root / "records",
        "data.crop_size": (33, 33),
        "evaluation.batch_size": 4,
        "evaluation.canvas_multiple": 64,
        "evaluation.num_pictures": 0,
        "checkpoint.every": 2,
    }
    return load_config(
        str(ROOT / "configs" / "shapes.py"),
        [f"--config.{name}={value}" for name, value in overrides.items()],
    )


def test_a_training_and_its_sweep(config, tmp_path, monkeypatch):
    monkeypatch.setitem(MODELS, "nano", NANO)
    one_device = make_mesh(jax.devices()[:1])
    monkeypatch.setattr(
        "train.training.plan.configured_mesh", lambda config: one_device
    )
    evaluated, evaluate = [], Training.evaluate

    def note(self, *given):
        evaluated.append(evaluate(self, *given))
        return evaluated[-1]

    monkeypatch.setattr(Training, "evaluate", note)
    swept, at = [], IterationSweep.at
    monkeypatch.setattr(
        IterationSweep, "at", staticmethod(lambda v, t: swept.append(t) or at(v, t))
    )
    Specification(config, "data", (1, 3)).write(tmp_path)
    with jax.default_prng_impl("rbg"):
        result = run.run(tmp_path, jobs=2)
    assert result == result_of(tmp_path)
    assert (result["status"], result["steps"]) == ("finished", 4)
    assert result["images_per_second"] > 0

    assert (result["machine"]["device"], result["machine"]["jobs"]) == ("cpu", 2)
    # the training evaluates with the T it was trained with, 3
    [own] = evaluated
    one, three = result["scores"]
    assert (one["eval_iters"], three["eval_iters"]) == (1, 3)
    assert swept == [1, 3]
    assert three["mean_iou"] == own.mean_iou
    assert three["pixel_accuracy"] == own.pixel_accuracy
    assert three["iou"] == dict(zip(["dark", "bright"], own.iou, strict=True))

    # with others asked for, the last checkpoint is evaluated, and nothing trained
    Specification(config, "data", (3,)).write(tmp_path)
    assert result_of(tmp_path) is None
    monkeypatch.setattr(Training, "compile", None)
    with jax.default_prng_impl("rbg"):
        result = run.run(tmp_path)
    assert (result["steps"], result["scores"]) == (4, [three])

    # and without a sweep its scores are taken, of whatever is left to evaluate
    training = SimpleNamespace(
        plan=SimpleNamespace(classes=SimpleNamespace(names=["dark", "bright"]))
    )
    [plain] = run.evaluations(training, None, own, [])
    assert plain == {name: three[name] for name in three if name != "eval_iters"}


def test_a_score_that_does_not_exist_is_null():
    scores = SimpleNamespace(
        mean_iou=0.5, pixel_accuracy=float("nan"), iou=np.array([np.nan, 0.5])
    )
    assert run.as_json(scores, ["a", "b"]) == {
        "mean_iou": 0.5,
        "pixel_accuracy": None,
        "iou": {"a": None, "b": 0.5},
    }


def test_how_a_training_failed(config, tmp_path, monkeypatch):
    advice = {}
    monkeypatch.setattr(
        "train.training.loop.Divergence", lambda **given: advice.update(given)
    )
    monkeypatch.setattr(
        "train.training.loop.start_or_restore",
        lambda *_: (SimpleNamespace(step=0, sharding=None, params={}), 0),
    )
    config = config.copy_and_resolve_references().unlock()
    config.model.name = "emanet_tiny"
    config.batch_size = config.evaluation.batch_size = 8
    with contextlib.ExitStack() as stack:
        Training(config, str(tmp_path), stack)
    error = Divergence(**advice).error("step 3: the loss is nan")
    assert fail(tmp_path, str(error))["status"] == "diverged"
    assert fail(tmp_path, "no such file")["status"] == "failed"
    assert result_of(tmp_path) == {"status": "failed", "error": "no such file"}


def test_the_process_itself(config, tmp_path):
    """A real one, whose network does not exist."""
    config = config.copy_and_resolve_references().unlock()
    config.batch_size = config.evaluation.batch_size = 8  # on eight devices
    Specification(config, "data").write(tmp_path)
    command = [sys.executable, "-m", "train.ablation.run", str(tmp_path), "1"]
    process = subprocess.Popen(
        command,
        env=environment(),
        cwd=tmp_path,
        stdin=subprocess.PIPE,  # open for as long as we are there
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.wait(60) == 2
    wanted = "config.model.name='nano' is unknown"
    with process:
        assert process.stderr.read().startswith(f"error: {wanted}")
    stored = json.loads((tmp_path / run.RESULT).read_text())
    assert stored["status"] == "failed"
    assert stored["error"].startswith(wanted)


def test_a_process_that_is_told_to_stop_has_not_ended(config, tmp_path, monkeypatch):
    def preempted(folder, jobs):
        raise Preempted("SIGTERM: stopped after step 3")

    monkeypatch.setattr(run, "run", preempted)
    monkeypatch.setattr(run, "end_with_parent", lambda: None)
    monkeypatch.setattr(run, "log_to_stderr", lambda: None)
    assert run.main(tmp_path) == 143
    assert result_of(tmp_path) is None


def test_several_at_a_time_are_for_a_cpu(config, tmp_path, monkeypatch):
    Specification(config, "data").write(tmp_path)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with pytest.raises(UserError) as error:
        run.run(tmp_path, jobs=2)
    wanted = "--jobs=2 is for a CPU, and the trainings run on a gpu; give --jobs=1"
    assert str(error.value) == wanted
