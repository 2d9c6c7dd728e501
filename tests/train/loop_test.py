"""A real training that is killed, run again, and ends as if nothing had happened."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from orbax.checkpoint import PyTreeCheckpointer

REPOSITORY = Path(__file__).parents[2]
NUM_STEPS = 10
CONFIG = f"""
from configs import shapes

def get_config():
    config = shapes.get_config()
    config.num_steps = {NUM_STEPS}
    config.batch_size = 4
    config.data.name = "folder"
    config.data.crop_size = (33, 33)
    config.evaluation.every = 4
    config.evaluation.batch_size = 4
    config.evaluation.canvas_multiple = 64
    config.checkpoint.every = 2
    return config
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """`run(workdir)` starts `main.py train` on six small images."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 3)):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for i in range(count):
            label = np.kron(rng.integers(0, 3, (4, 5)), np.ones((10, 10))).astype(
                np.uint8
            )
            image = rng.integers(0, 80, (40, 50, 3), np.uint8) + 60 * label[..., None]
            cv2.imwrite(str(folder / "images" / split / f"{i}.png"), image)
            cv2.imwrite(str(folder / "labels" / split / f"{i}.png"), label)
    (folder / "classes.txt").write_text("a\nb\nc\n")
    config = folder / "config.py"
    config.write_text(CONFIG)
    environment = os.environ | {
        "XLA_FLAGS": "",
        "PYTHONPATH": str(REPOSITORY),
        # The runs compile the same programs: only the first one pays.
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }

    def start(workdir: Path) -> subprocess.Popen:
        command = [sys.executable, str(REPOSITORY / "main.py"), "train"]
        command += ["--config", str(config), "--workdir", str(workdir)]
        command += [f"--config.data.root={folder}"]
        command += [f"--config.data.data_dir={folder / 'records'}"]
        return subprocess.Popen(
            command, env=environment, stderr=subprocess.PIPE, text=True
        )

    return start


def finish(process: subprocess.Popen) -> str:
    _, log = process.communicate(timeout=300)
    assert process.returncode == 0, log
    return log


def final_arrays(workdir: Path) -> dict[str, np.ndarray]:
    path = workdir / "checkpoints" / str(NUM_STEPS) / "state"
    tree = PyTreeCheckpointer().restore(path.absolute())
    return {str(key): value for key, value in _leaves(tree)}


def _leaves(tree, path=()):
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _leaves(value, (*path, key))
    elif isinstance(tree, list | tuple):
        for index, value in enumerate(tree):
            yield from _leaves(value, (*path, index))
    elif tree is not None:
        yield path, np.asarray(tree)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_killed_and_run_again_ends_bit_for_bit_the_same(run, tmp_path):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    log = finish(run(undisturbed))
    assert "starting from random weights" in log
    assert "val mIoU" in log

    process = run(killed)
    deadline = time.monotonic() + 300
    while not (killed / "checkpoints" / "4").exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (killed / "checkpoints" / str(NUM_STEPS)).exists()
    log = finish(run(killed))
    assert "resuming" in log

    expected, actual = final_arrays(undisturbed), final_arrays(killed)
    assert expected.keys() == actual.keys()
    assert any("trace" in key for key in expected)  # momentum is compared too
    for key, value in expected.items():
        np.testing.assert_array_equal(actual[key], value, err_msg=key)
    for workdir in (undisturbed, killed):
        assert list((workdir / "pictures").glob("*.png"))
        assert list((workdir / "tensorboard").iterdir())
