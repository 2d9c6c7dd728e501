"""The whole of an ablation: train what is missing, then write tables and figures."""

import logging
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import Any

import jax
from ml_collections import ConfigDict

from ema_jax.segmenter import init_variables
from train.ablation.cost import costs_of
from train.ablation.figures import draw
from train.ablation.folder import (
    Specification,
    check_local,
    check_unchanged,
    claim,
    fingerprint,
    held,
    write_text,
    writing,
)
from train.ablation.grid import Ablation, Run, load_ablation
from train.ablation.jobs import Job, check_jobs, run_jobs
from train.ablation.results import FINISHED, as_csv
from train.ablation.run import RESULT, fail, result_of
from train.ablation.sweep import IterationSweep
from train.ablation.tables import as_markdown
from train.configuration.config import to_json
from train.data import Dataset, open_dataset
from train.model.build import build_model
from train.model.pretrained import check_fit, given_weights
from train.user.errors import UserError

log = logging.getLogger("ema_jax")

ROOT = Path(__file__).parents[2]
"""Where `train` and `configs` are imported from."""

LOG, COST_LOG = "log.txt", "cost.txt"


def ablate(path: str, workdir: str, overrides: Sequence[str], jobs: int = 1) -> None:
    """Train every run of an ablation that is not finished, and compare them.

    Leaves in `workdir` the trainings, below `runs/`, and `results.csv`, `summary.md`
    and figures, which are written anew after every run.

    Args:
        path: a config of `configs/ablations/`.
        workdir: folder of the ablation.
        overrides: see `load_ablation`.
        jobs: how many trainings at a time, each on its share of the cores.

    Raises:
        UserError: a mistake, found before anything is trained; or, in the end, that
            some runs failed.
    """
    check_jobs(jobs)
    check_local(workdir)
    ablation = load_ablation(path, overrides)
    datasets = open_datasets(ablation)
    check_trainings(ablation, datasets)
    folder = Path(workdir)
    with held(folder):
        claim(folder, ablation)
        specify(ablation, datasets, folder)
        results = train_missing(ablation, folder, jobs)
        if ablation.costs:
            tell_costs(ablation, results, folder, jobs)
        write(ablation, results, folder)
    print((folder / "summary.md").read_text())
    failed = [run for run in ablation.runs if not _finished(results, run)]
    if failed:
        first = results[failed[0].folder]
        raise UserError(
            f"{len(failed)} of {len(ablation.runs)} runs did not finish, first "
            f"{folder / failed[0].folder}: {first['status']}: {first['error']}"
        )


def open_datasets(ablation: Ablation) -> dict[str, Dataset]:
    """The data set of each run; records are written once, before many processes do."""
    opened: dict[tuple, Dataset] = {}
    found = {}
    for run in ablation.runs:
        data = run.config.data
        where = data.name, data.root, data.data_dir
        if where not in opened:
            opened[where] = open_dataset(
                data.name, root=data.root, data_dir=data.data_dir
            )
        found[run.folder] = opened[where]
    return found


def check_trainings(ablation: Ablation, datasets: Mapping[str, Dataset]) -> None:
    """Open the splits of every run, build its network, and read what it starts from.

    Args:
        ablation: of which each distinct network is built once, on shapes alone.
        datasets: by the folder of a run.

    Raises:
        UserError: the first mistake, as the training would have said it.
    """
    splits: dict[str, tuple[Dataset, str]] = {}
    networks: dict[str, tuple[ConfigDict, Dataset]] = {}
    for run in ablation.runs:
        config, dataset = run.config, datasets[run.folder]
        for split in (config.data.train_split, config.data.val_split):
            splits.setdefault(f"{dataset.folder}:{split}", (dataset, split))
        size = config.data.crop_size
        network = repr((to_json(config.model), dataset.class_names, size))
        networks.setdefault(network, (config, dataset))
    for dataset, split in splits.values():
        dataset.source(split)
    weights = dict[str, Any]()
    for config, dataset in networks.values():
        check_network(config, dataset.num_classes, bool(ablation.eval_iters), weights)


def check_network(
    config: ConfigDict, num_classes: int, swept: bool, weights: dict[str, Any]
) -> None:
    """Raise a UserError for a network that is none, or cannot start as it is to.

    Args:
        config: of a training.
        num_classes: of its data.
        swept: whether its EM iterations are to be varied.
        weights: of the files that were read already, by their path; adds to them.
    """
    model = build_model(config.model, num_classes, config.data.crop_size)
    if swept:
        try:
            IterationSweep(model)
        except UserError as error:
            raise UserError(
                f"config.model.name={config.model.name}: {error}"
            ) from error
    source = config.model.pretrained
    if source not in weights:
        weights[source] = given_weights(config.model)
    if weights[source] is not None:
        shapes = jax.eval_shape(partial(init_variables, model, seed=0))
        check_fit(weights[source], shapes, config.model)


def specify(ablation: Ablation, datasets: Mapping[str, Dataset], folder: Path) -> None:
    """Say in every run's folder what it trains, unless one of them holds another."""
    wanted = {
        folder / run.folder: Specification(
            run.config, fingerprint(datasets[run.folder]), ablation.eval_iters
        )
        for run in ablation.runs
    }
    for place, specification in wanted.items():
        check_unchanged(place, specification)
    with writing(folder):
        for place, specification in wanted.items():
            specification.write(place)


def train_missing(ablation: Ablation, folder: Path, jobs: int) -> dict[str, Any]:
    """Train every run without a result that is finished; the results of all."""
    found = {run.folder: result_of(folder / run.folder) for run in ablation.runs}
    results = {
        name: result
        for name, result in found.items()
        if result and result["status"] == FINISHED
    }
    left = [run for run in ablation.runs if run.folder not in results]
    for run in left:  # those that failed are tried again
        (folder / run.folder / RESULT).unlink(missing_ok=True)
    done = len(results)
    if done:
        log.info("%d of %d runs are finished already", done, len(ablation.runs))
    start = time.monotonic()

    def note(index: int, status: int) -> None:
        run = left[index]
        with writing(folder):
            results[run.folder] = collect(folder / run.folder, status)
        count = len(results) - done
        eta = (time.monotonic() - start) / count * (len(left) - count)
        log.info(
            "%s: %s (%d of %d, ETA %.0f min)",
            run.folder.removeprefix("runs/"),
            describe(results[run.folder]),
            len(results),
            len(ablation.runs),
            eta / 60,
        )
        write(ablation, results, folder)

    trainings = [job(folder / run.folder, jobs) for run in left]
    run_jobs(trainings, jobs, environment(), note)
    return results


def tell_costs(
    ablation: Ablation, results: Mapping[str, Any], folder: Path, jobs: int
) -> None:
    """Find out what each point costs that has a training and no costs yet."""
    points = {
        run.labels: folder / run.folder
        for run in ablation.runs
        if _finished(results, run) and not costs_of(folder / run.folder)
    }
    asked = list(points.values())

    def note(index: int, status: int) -> None:
        if status:
            point = asked[index].parent
            said = _last_line(point / COST_LOG)
            log.info("%s: its costs are not known: %s", point.name, shorten(said, 200))

    run_jobs([cost_job(run) for run in asked], jobs, environment(), note)


def job(folder: Path, jobs: int) -> Job:
    """The process that trains one run, of several at a time."""
    command = [sys.executable, "-m", "train.ablation.run", str(folder), str(jobs)]
    return Job(command, folder / LOG)


def cost_job(folder: Path) -> Job:
    """The process that tells what the point of a run costs."""
    command = [sys.executable, "-m", "train.ablation.cost", str(folder)]
    return Job(command, folder.parent / COST_LOG)


def environment() -> dict[str, str]:
    """That of this process, so that our modules are found from any folder."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def collect(folder: Path, status: int) -> dict[str, Any]:
    """The result of a process that ended; one that wrote none has failed."""
    result = result_of(folder)
    if result is not None:
        return result
    how = f"ended with status {status}"
    if status < 0:
        how = f"killed by {signal.Signals(-status).name}"
    said = shorten(_last_line(folder / LOG), 200)
    return fail(folder, f"{how} after {said!r}; see {folder / LOG}")


def describe(result: dict[str, Any]) -> str:
    """A result in a few words."""
    if result["status"] != FINISHED:
        return f"{result['status']}: {result['error']}"
    best = max(scores["mean_iou"] or 0 for scores in result["scores"])
    return f"val mIoU {best:.4f}"


def write(ablation: Ablation, results: dict[str, Any], folder: Path) -> None:
    """Write tables and figures of what there is."""
    results = {name: costs_of(folder / name) | found for name, found in results.items()}
    with writing(folder):
        write_text(folder / "results.csv", as_csv(ablation, results))
        write_text(folder / "summary.md", as_markdown(ablation, results))
        draw(ablation, results, folder)


def _finished(results: Mapping[str, Any], run: Run) -> bool:
    return results[run.folder]["status"] == FINISHED


def _last_line(path: Path) -> str:
    return path.read_text(errors="replace").strip().rpartition("\n")[2]
