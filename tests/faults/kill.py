"""Kills a training at random moments until it ends: `python tests/faults/kill.py`.

Of the kills, half come by SIGKILL and half by SIGTERM; half while a checkpoint is
being written. The training of a device on its own, and the one of two processes, must
each end with the very bits of a training that nobody disturbed, and have TensorBoard's
figures of every step.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ["JAX_PLATFORMS"] = "cpu"

from tests.faults.trainings import Lab, Run, arrays, scalars

OVERRIDES = (
    "checkpoint.every=2",
    "checkpoint.keep_last=3",
    "evaluation.every=50",
    "optimizer.learning_rate=0.001",
)


@dataclass
class Kill:
    """What one kill did."""

    signal: signal.Signals
    writing: bool
    reached: int
    resumed: int

    @property
    def lost(self) -> int:
        """Steps that were made and have to be made again."""
        return self.reached - self.resumed


def steps_in_log(run: Run) -> int:
    """The last step that the first process has logged."""
    lines = [line.split() for line in run.logs[0].read_text().splitlines()]
    found = [words[1] for words in lines if len(words) > 2 and words[0] == "step"]
    counts = [int(word.split("/")[0].rstrip(":,")) for word in found]
    return max(counts, default=0)


def newest(workdir: Path) -> int:
    """The last complete checkpoint."""
    folder = workdir / "checkpoints"
    names = [path.name for path in folder.glob("*") if path.is_dir()]
    return max((int(name) for name in names if name.isdecimal()), default=0)


def partial(workdir: Path) -> bool:
    """Whether a checkpoint is being written."""
    return any((workdir / "checkpoints").glob("*orbax-checkpoint-tmp*"))


def wait_for_moment(run: Run, workdir: Path, beyond: int, writing: bool) -> None:
    """Until a step after `beyond`, then a random while, then perhaps a write."""
    end = time.monotonic() + 300
    while run.running() and steps_in_log(run) <= beyond:
        assert time.monotonic() < end, run.said()
        time.sleep(0.01)
    time.sleep(random.uniform(0, 1))
    end = time.monotonic() + 20
    while writing and run.running() and not partial(workdir):
        if time.monotonic() > end:
            return
        time.sleep(0.0005)
    if writing:
        time.sleep(random.uniform(0, 0.03))


def disturb(
    lab: Lab,
    workdir: Path,
    overrides: Sequence[str],
    processes: int,
    number: signal.Signals,
    *,
    writing: bool,
) -> Kill | None:
    """Start, kill, and look what is left; None if the training was over before."""
    start = newest(workdir)
    run = lab.start(workdir, *overrides, processes=processes)
    wait_for_moment(run, workdir, start, writing)
    if not run.running():
        assert set(run.wait()) == {0}, run.said()
        return None
    hit = writing and partial(workdir)
    victim = random.randrange(processes)
    run.signal(number, victim)
    statuses = run.wait(120)
    if statuses == [0] * processes:
        return None
    assert 0 not in statuses, run.said()
    if number == signal.SIGTERM:
        assert statuses == [143] * processes, run.said()
    reached = max(steps_in_log(run), start)
    return Kill(number, hit, reached, min(newest(workdir), reached))


def campaign(lab: Lab, folder: Path, processes: int, steps: int, kills: int) -> None:
    """Kill one training until it has survived so many; compare it with another."""
    overrides = (*OVERRIDES, f"num_steps={steps}")
    calm = folder / f"calm{processes}"
    run = lab.start(calm, *overrides, processes=processes)
    assert set(run.wait(600)) == {0}, run.said()
    done: list[Kill] = []
    round_ = 0
    workdir = folder / f"killed{processes}.{round_}"
    while len(done) < kills:
        number = (signal.SIGKILL, signal.SIGTERM)[len(done) % 2]
        writing = len(done) // 2 % 2 == 0
        kill = disturb(lab, workdir, overrides, processes, number, writing=writing)
        if kill is None:
            compare(calm, workdir, steps)
            round_ += 1
            workdir = folder / f"killed{processes}.{round_}"
            continue
        done.append(kill)
        print(
            f"{processes} process(es), {kill.signal.name}"
            f"{' while writing' if kill.writing else ''}: reached {kill.reached}, "
            f"resumes from {kill.resumed}",
            flush=True,
        )
    run = lab.start(workdir, *overrides, processes=processes)
    assert set(run.wait(600)) == {0}, run.said()
    compare(calm, workdir, steps)
    lost = [kill.lost for kill in done]
    print(
        f"{processes} process(es): {len(done)} kills survived, "
        f"{sum(kill.writing for kill in done)} of them while writing; "
        f"{sum(lost)} steps lost, at most {max(lost)} at a time; "
        "the end is the same bit for bit",
        flush=True,
    )


def compare(calm: Path, killed: Path, step: int) -> None:
    """Fail unless every array of both last checkpoints, and every loss, is the same."""
    wanted, found = arrays(calm, step), arrays(killed, step)
    assert wanted.keys() == found.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    losses, others = (scalars(workdir)["train/loss"] for workdir in (calm, killed))
    assert list(others) == list(range(1, step + 1))
    assert others == losses


def main() -> None:
    """Both campaigns."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=20, help="over both (default 20)")
    options.add_argument("--steps", type=int, default=60, help="of a training")
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    random.seed(given.seed)
    with tempfile.TemporaryDirectory() as name:
        lab = Lab(Path(name), model="emanet_tiny")
        two = given.kills * 2 // 5
        campaign(lab, Path(name), 1, given.steps, given.kills - two)
        campaign(lab, Path(name), 2, given.steps, two)


if __name__ == "__main__":
    main()
