"""`main.py aot`: on devices of the CPU, and once by the compiler for TPUs."""

import csv
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest

import main
from ema_jax import MODELS
from tests.micro import NANO
from train.aot import command, compile
from train.aot.command import CLASSES, num_classes
from train.aot.compile import DoesNotFitError
from train.configuration.config import load_config
from train.data import DATASETS
from train.devices.mesh import make_mesh
from train.model.build import build_model
from train.update.optimizer import make_optimizer
from train.update.state import init_state
from train.user.errors import UserError

ROOT = Path(__file__).parents[3]
SMALL = [
    "--config=configs/shapes.py",
    "--config.data.crop_size=(33, 33)",
    "--config.model.num_bases=8",
]
needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="needs libtpu, the extra tpu"
)


def aot(*options):
    return main.main(["aot", *map(str, options)])


def read(path):
    with open(path) as file:
        [row] = csv.DictReader(file)
    return row


def state_sizes(*overrides):
    """Elements of the parameters, and bytes of the whole state."""
    config = load_config("configs/shapes.py", overrides)
    model = build_model(config.model, 8)
    optimizer = make_optimizer(config.optimizer, config.num_steps, model)
    state = jax.eval_shape(lambda: init_state(model, optimizer, 0))
    held = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
    return sum(x.size for x in jax.tree.leaves(state.params)), held


@pytest.fixture
def on_cpu(monkeypatch):
    """Eight devices of the CPU stand for the chips."""
    monkeypatch.setattr(command, "slice_devices", lambda topology: jax.devices())


@pytest.fixture
def never_compiled(monkeypatch):
    monkeypatch.setattr(command, "compile_step", None)


def test_a_small_training(tmp_path, capsys, on_cpu, monkeypatch):
    monkeypatch.setitem(MODELS, "nano", NANO)
    nano = [*SMALL[1:], "--config.model.name=nano"]
    options = ["--topology=v5e:2x4", "--batch_per_chip=2", "--num_classes=8"]
    options += [SMALL[0], *nano]
    hlo = tmp_path / "new" / "step.hlo"
    assert aot(*options, "--output", tmp_path / "out", "--hlo", hlo) == 0
    printed = capsys.readouterr().out
    assert (
        "shapes on v5e:2x4: 8 chips, 16 images of 33 × 33 (2 on each of 8)" in printed
    )
    row = read(tmp_path / "out" / "shapes_v5e_2x4.csv")
    parameters, held = state_sizes(*nano)
    batch = 2 * 33 * 33 * (3 + 1 + 1)
    assert int(row["arguments"]) == held + batch
    assert 8 * 8 * 4 < int(row["outputs"]) < held  # confusion; the state is donated
    parts = [int(row[part]) for part in ("arguments", "outputs", "temporaries")]
    assert int(row["total"]) == sum(parts)
    assert row["fits"] == "yes"
    assert float(row["flops"]) > 2 * parameters  # each is used once at least
    assert float(row["hbm_bytes"]) == pytest.approx(float(row["bytes"]), rel=0.01)
    parts = {key: int(row[key]) for key in row if key.endswith("_counted")}
    assert parts.pop("all_counted") == sum(parts.values()) == int(row["hbm_bytes"])
    assert len(parts) == 7
    assert all(parts.values())
    least = int(row["optimiser_and_rest_least"])
    assert 0.9 < least / (4 * 5 * parameters) <= 1  # some are frozen
    assert int(row["all_reduce_count"]) > 0
    assert int(row["all_reduce_size"]) >= 4 * parameters * 0.9  # some are frozen
    assert int(row["all_to_all_count"]) == 0
    text = hlo.read_text()
    assert text.startswith("HloModule jit_train_step")
    halves = text.count(" all-reduce-start(")
    assert int(row["all_reduce_count"]) == text.count(" all-reduce(") + halves
    assert (tmp_path / "out" / "shapes_v5e_2x4.txt").read_text() in printed
    page = (tmp_path / "out" / "shapes_v5e_2x4.md").read_text()
    assert f"| all-reduce | {row['all_reduce_count']} |" in page


def test_what_does_not_fit_is_said(capsys, on_cpu, monkeypatch, tmp_path):
    def refuse(*_):
        raise DoesNotFitError("RESOURCE_EXHAUSTED: Used 20.00G of 15.75G hbm.")

    monkeypatch.setattr(command, "compile_step", refuse)
    assert aot("--topology=v5e:2x4", *SMALL, "--output", tmp_path) == 0
    printed = capsys.readouterr().out
    assert "does not fit: RESOURCE_EXHAUSTED: Used 20.00G of 15.75G hbm." in printed
    assert "all-reduce" not in printed
    row = read(tmp_path / "shapes_v5e_2x4.csv")
    assert (row["fits"], row["hbm"]) == ("no", str(16 * 2**30))


def test_a_refusal_of_the_compiler_is_one_line(monkeypatch):
    class Lowered:
        def compile(self):
            message = (
                "RESOURCE_EXHAUSTED: Ran out of memory\n\n  Used 20G.\n" + "a " * 999
            )
            raise jax.errors.JaxRuntimeError(message)

    class Step:
        def lower(self, *_):
            return Lowered()

    updates = SimpleNamespace(step=Step(), state=None)
    monkeypatch.setattr(compile, "configured_updates", lambda *_: updates)
    config = load_config("configs/shapes.py", SMALL[1:])
    with pytest.raises(DoesNotFitError) as caught:
        compile.compile_step(config, 8, make_mesh())
    message = str(caught.value)
    assert message.startswith("RESOURCE_EXHAUSTED: Ran out of memory Used 20G. a a")
    assert "\n" not in message
    assert len(message) <= 300


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--topology=4x4"], "--topology=4x4 is no slice; give one as v4:2x2x1, v5e:"),
        (["--topology=v5e:4y4"], "--topology=v5e:4y4 is no slice; give one as v4:"),
        (["--batch_per_chip=0"], "--batch_per_chip=0: give a whole number from 1 to"),
        (["--num_classes=x"], "--num_classes=x: give a whole number from 1 to"),
        (
            ["--output=/dev/null/x"],
            "--output: /dev/null/x cannot be written (Not a dir",
        ),
        (["--hlo=/dev/null/x"], "--hlo: /dev/null cannot be written (File exists"),
        (["--hlo=configs"], "--hlo=configs is a folder; give a file"),
        (["--config.data.name=voc"], "config.data.name='voc' is unknown; did you m"),
        (["--config.bach_size=3"], "config.bach_size does not exist; did you mean"),
        (["--batch=3"], "'--batch=3' is not understood; write --config.FIELD=VALUE"),
    ],
)
def test_mistakes_are_one_line(options, message, capsys, never_compiled):
    assert aot("--topology=v5e:2x2", *SMALL, *options) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"error: {message}")
    assert printed.err.count("\n") == 1
    assert printed.out == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--config.batch_size=12"], "config.batch_size=12 cannot be divided over 8"),
        (["--config.mesh.space=3"], "config.mesh.space=3 does not divide the 8 dev"),
        (
            ["--batch_per_chip=1", "--config.optimizer.accumulation=2"],
            "config.batch_size=8 cannot be divided over 2 pieces on each of 8",
        ),
    ],
)
def test_what_does_not_divide_is_one_line(options, message, capsys, on_cpu):
    assert aot("--topology=v5e:2x4", *SMALL, *options) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: {message}")


def test_without_libtpu_the_extra_is_named(capsys, monkeypatch, never_compiled):
    monkeypatch.delenv("TPU_LIBRARY_PATH", raising=False)
    monkeypatch.setattr(compile.importlib.util, "find_spec", lambda name: None)
    assert aot("--topology=v5e:2x2", *SMALL) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --topology=v5e:2x2 needs libtpu")
    assert error.endswith('pip install "jax[tpu]"\n')


PUBLISHED = {
    "ade20k": 150,
    "cityscapes": 19,
    "coco_voc": 21,
    "cocostuff10k": 171,
    "pascal_context": 60,
    "voc2012": 21,
    "voc2012aug": 21,
}


def test_the_published_numbers_of_classes():
    assert {name: num_classes(name) for name in PUBLISHED} == PUBLISHED


def test_every_set_but_a_folder_says_it():
    assert CLASSES.keys() == DATASETS.keys() - {"folder"}
    assert num_classes("folder") == 21


def test_the_embedded_set(tmp_path):
    assert num_classes("shapes") == len(DATASETS["shapes"](None).class_names)


def test_an_unknown_set():
    with pytest.raises(UserError, match=r"data\.name='voc' is unknown; did you mean"):
        num_classes("voc")


UNSET = {"JAX_PLATFORMS", "XLA_FLAGS", "TPU_LIBRARY_PATH", *compile.ENVIRONMENT}


def run(*arguments):
    """A Python of its own, where nothing says which platform."""
    environment = {k: v for k, v in os.environ.items() if k not in UNSET}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )


@needs_libtpu
def test_the_compiler_for_tpus(tmp_path):
    options = ["--topology=v5e:2x2", "--batch_per_chip=2", *SMALL]
    ran = run(
        "main.py",
        "aot",
        *options,
        "--config.model.dtype=bfloat16",
        "--output",
        tmp_path,
    )
    assert ran.returncode == 0, ran.stderr
    row = read(tmp_path / "shapes_v5e_2x2.csv")
    parameters, held = state_sizes(*SMALL[1:], "--config.model.dtype=bfloat16")
    assert (row["chips"], row["images"], row["fits"]) == ("4", "8", "yes")
    assert int(row["arguments"]) >= held  # tiles fill up
    assert float(row["flops"]) > 2 * parameters
    assert float(row["seconds"]) > 0
    assert int(row["all_reduce_count"]) > 0
    # gradients of weights in bfloat16, as the convolutions give them
    assert 2 * parameters < int(row["all_reduce_size"]) < 4 * parameters
    assert "libtpu 0." in ran.stdout


@needs_libtpu
def test_a_batch_that_the_compiler_refuses(tmp_path):
    options = ["--topology=v5e:2x2", "--batch_per_chip=16384", *SMALL]
    options.append("--config.data.crop_size=(129, 129)")
    ran = run("main.py", "aot", *options, "--output", tmp_path)
    assert ran.returncode == 0, ran.stderr
    [reason] = [line for line in ran.stdout.splitlines() if "does not fit" in line]
    assert reason.startswith("does not fit: RESOURCE_EXHAUSTED: ")
    assert "15.75G" in reason  # what the compiler leaves of 16
    assert read(tmp_path / "shapes_v5e_2x2.csv")["fits"] == "no"


COUNT = """
from train.aot.compile import slice_devices

for topology in ("v4:2x2x1", "v5e:2x2", "v5p:2x2x2", "v6e:2x4", "v5e:4x4", "v4:2x2x4"):
    print(len(slice_devices(topology)))
"""


@needs_libtpu
def test_a_device_is_a_chip():
    ran = run("-c", COUNT)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["4", "4", "8", "8", "16", "16"]
    assert ran.stderr == ""


@needs_libtpu
def test_a_slice_that_there_is_not():
    ran = run("main.py", "aot", "--topology=v5e:3x5", *SMALL)
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: --topology=v5e:3x5 cannot be compiled for (")
    assert "give one as v4:2x2x1, v5e:4x4" in ran.stderr
    assert ran.stderr.count("\n") == 1
