"""A real ablation, killed while it trains, and started again."""

import json
import signal
import time

import main
from tests.faults import forked
from tests.faults.trainings import Lab, Run, scalars, wait_for
from train.user.errors import UserError
from train.workdir.lock import WorkdirLock

SMALL = """
    with config.unlocked():
        config.model.update(stage_sizes=(1, 1, 1, 1), width=4, stem_width=4)
        config.model.update(channels=8)
        config.evaluation.every = 20
    return config
"""
CONFIG = """
from configs.ablations import default

def get_config():
    config = default.get_config()
    config.base = {base!r}
    config.seeds = (0,)
    return config
"""


def wait_until_free(workdir, timeout=30):
    """Until no process holds the lock of a workdir."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return WorkdirLock(str(workdir)).close()
        except UserError:
            assert time.monotonic() < deadline, f"{workdir} is still held"
            time.sleep(0.05)


def test_it_goes_on_from_the_last_checkpoint(tmp_path, monkeypatch):
    lab = Lab(tmp_path / "lab", model="fcn_tiny")
    trained = lab.config.read_text().replace("    return config\n", SMALL)
    lab.config.write_text(trained)
    path, workdir, log = (tmp_path / name for name in ("mine.py", "w", "log.txt"))
    path.write_text(CONFIG.format(base=str(lab.config)))
    command = ["ablate", "--config", str(path), "--workdir", str(workdir)]
    training = workdir / "runs/base/seed0"

    killed = Run([forked.start(command, lab.environment(), log)], [log])
    wait_for(killed, training / "checkpoints/5")
    killed.signal(signal.SIGKILL)
    assert killed.wait() == [-signal.SIGKILL]
    wait_until_free(training)  # what it started has ended as well
    assert not (training / "result.json").exists()

    monkeypatch.setenv("XLA_FLAGS", lab.environment()["XLA_FLAGS"])
    assert main.main(command) == 0
    assert json.loads((training / "result.json").read_text())["steps"] == 20
    assert list(scalars(training)["train/loss"]) == list(range(1, 21))
    trained = (training / "log.txt").read_text().splitlines()
    assert sum(line.startswith("step 5/20:") for line in trained) == 1
    assert "1 runs, 1 finished" in (workdir / "summary.md").read_text()
