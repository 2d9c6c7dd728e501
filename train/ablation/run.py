"""One run of an ablation, in a process of its own: `python -m train.ablation.run`.

Its folder holds `run.json`, which says what to train, and in the end `result.json`.
"""

import contextlib
import math
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import jax

from ema_jax import Segmenter
from train.ablation.folder import FINISHED, RESULT, fail, read_specification, write_json
from train.ablation.jobs import available_cores, end_with_parent
from train.ablation.sweep import IterationSweep
from train.evaluation.metrics import Scores
from train.evaluation.validation import Validation
from train.report.history import STARTED, Row
from train.training.loop import Training
from train.update.state import TrainState
from train.user.console import log_to_stderr
from train.user.errors import Preempted, UserError

SPEED = "train/images_per_second"
"""Name of the speed in the training's own report."""


def main(folder: Path, jobs: int = 1) -> int:
    """Run, with the log on the standard error; returns the exit status."""
    end_with_parent()
    log_to_stderr()
    try:
        run(folder, jobs)
    except UserError as error:
        fail(folder, str(error))
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Preempted as error:  # not ended: the next call goes on
        print(error, file=sys.stderr)
        return 143
    return 0


def run(folder: Path, jobs: int = 1) -> dict[str, Any]:
    """Train what `run.json` says, or go on with it, and evaluate the last state.

    Args:
        folder: of the run.
        jobs: how many trainings the machine has at a time.

    Returns:
        What `result.json` holds.

    Raises:
        UserError: what stopped the training; nothing is written then.
        Preempted: SIGTERM came; what was trained is saved.
    """
    check_alone(jobs)
    specification = read_specification(folder)
    with contextlib.ExitStack() as stack:
        training = Training(specification.config, str(folder), stack)
        stack.enter_context(training.preemption)
        state, scores = training.run()
        table = evaluations(training, state, scores, specification.eval_iters)
    result = {
        "status": FINISHED,
        "error": "",
        "steps": int(state.step),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        "images_per_second": images_per_second(training.report.rows()),
        "machine": machine(jobs),
        "scores": table,
    }
    write_json(folder / RESULT, result)
    return result


def evaluations(
    training: Training,
    state: TrainState,
    scores: Scores | None,
    eval_iters: Sequence[int],
) -> list[dict[str, Any]]:
    """The scores of a state, at each number of EM iterations if any are asked for."""
    plan = training.plan
    names = plan.classes.names
    if not eval_iters:
        scores = scores or plan.validation.scores(state.variables)
        return [as_json(scores, names)]
    split, evaluation = plan.validation.split, training.config.evaluation
    sweep = IterationSweep(plan.model)
    validation = Validation(split, cast(Segmenter, sweep), plan.mesh, evaluation)
    return [
        {
            "eval_iters": iters,
            **as_json(validation.scores(sweep.at(state.variables, iters)), names),
        }
        for iters in eval_iters
    ]


def as_json(scores: Scores, class_names: Sequence[str]) -> dict[str, Any]:
    """Scores as JSON; null where a class does not occur."""

    def number(value: float) -> float | None:
        return float(value) if math.isfinite(value) else None

    return {
        "mean_iou": number(scores.mean_iou),
        "pixel_accuracy": number(scores.pixel_accuracy),
        "iou": dict(zip(class_names, map(number, scores.iou), strict=True)),
    }


def images_per_second(rows: Iterable[Row]) -> float | None:
    """Median over the intervals of a training, None if it reported none.

    The first interval after each start holds the compiling, and is left out where
    there are others.
    """
    starts: list[list[float]] = [[]]
    for row in rows:
        if STARTED in row:
            starts.append([])
        elif row.get(SPEED) is not None:
            starts[-1].append(row[SPEED])
    later = [value for values in starts for value in values[1:]]
    found = later or [value for values in starts for value in values]
    return statistics.median(found) if found else None


def machine(jobs: int) -> dict[str, Any]:
    """What a speed depends on: devices, cores of this process, trainings at a time."""
    devices = jax.devices()
    return {
        "device": devices[0].device_kind,
        "devices": len(devices),
        "cores": len(available_cores()),
        "jobs": jobs,
        "jax": jax.__version__,
    }


def check_alone(jobs: int) -> None:
    """Raise a UserError where several trainings would share an accelerator."""
    platform = jax.default_backend()
    if jobs > 1 and platform != "cpu":
        raise UserError(
            f"--jobs={jobs} is for a CPU, and the trainings run on a {platform}; "
            "give --jobs=1"
        )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), jobs=int(sys.argv[2])))
