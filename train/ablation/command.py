"""The whole of an ablation: train what is missing, then write tables and figures."""

import logging
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from textwrap import shorten
from typing import Any

from ml_collections import ConfigDict

from ema_jax.segmenter import variable_shapes
from train.ablation.figures import draw
from train.ablation.folder import (
    COST,
    COST_LOG,
    FINISHED,
    LOG,
    RESULT,
    Specification,
    check_local,
    check_unchanged,
    claim,
    fail,
    fingerprint,
    held,
    read_json,
    result_of,
)
from train.ablation.grid import Ablation, load_ablation
from train.ablation.jobs import Job, check_jobs, run_jobs
from train.ablation.results import Results, as_csv, find
from train.ablation.sweep import IterationSweep
from train.ablation.tables import as_markdown
from train.configuration.config import to_json
from train.data import Dataset, data_options, open_dataset
from train.model.build import build_model
from train.model.pretrained import check_fit, locate, read_start
from train.user.errors import UserError
from train.user.files import write_whole
from train.user.folders import writing

log = logging.getLogger("ema_jax")


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
        with writing("workdir", folder):
            claim(folder, ablation)
            specify(ablation, datasets, folder)
        train_missing(ablation, folder, jobs)
        if ablation.costs:
            tell_costs(ablation, folder, jobs)
        results = report(ablation, folder)
    print((folder / "summary.md").read_text("utf-8"))
    failed = [run for run in ablation.runs if not _finished(results[run.folder])]
    if failed:
        first = results[failed[0].folder]
        raise UserError(
            f"{len(failed)} of {len(ablation.runs)} runs did not finish, first "
            f"{folder / failed[0].folder}: {first['status']}: {first['error']}"
        )


def open_datasets(ablation: Ablation) -> dict[str, Dataset]:
    """The data set of each run; records are written once, before many processes do."""
    opened = cache(open_dataset)
    return {
        run.folder: opened(run.config.data.name, **data_options(run.config))
        for run in ablation.runs
    }


def check_trainings(ablation: Ablation, datasets: Mapping[str, Dataset]) -> None:
    """Open the splits of every run, build its network, and read what it starts from.

    Args:
        ablation: of which each distinct network is built once, on shapes alone.
        datasets: by the folder of a run.

    Raises:
        UserError: the first mistake, as the training would have said it.
    """
    trainings = [(run.config, datasets[run.folder]) for run in ablation.runs]
    splits = {
        (dataset.folder, split): dataset
        for config, dataset in trainings
        for split in (config.data.train_split, config.data.val_split)
    }
    networks = {
        repr((to_json(c.model), dataset.class_names, c.data.crop_size)): (c, dataset)
        for c, dataset in trainings
    }
    for (_, split), dataset in splits.items():
        dataset.source(split)
    weights = dict[Any, Any]()
    for config, dataset in networks.values():
        check_network(config, dataset.num_classes, bool(ablation.eval_iters), weights)


def check_network(
    config: ConfigDict, num_classes: int, swept: bool, weights: dict[Any, Any]
) -> None:
    """Raise a UserError for a network that is none, or cannot start as it is to.

    Args:
        config: of a training.
        num_classes: of its data.
        swept: whether its EM iterations are to be varied.
        weights: of the files that were read already, by path and channels; adds to
            them.
    """
    model = build_model(config.model, num_classes, config.data.crop_size)
    if swept:
        try:
            IterationSweep(model)
        except UserError as error:
            name = config.model.name
            raise UserError(f"config.model.name={name}: {error}") from error
    path, channels = locate(config.model), config.model.in_channels
    if path is None:
        return
    if (path, channels) not in weights:
        weights[path, channels] = read_start(path, config.model)
    check_fit(weights[path, channels], variable_shapes(model), config.model)


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
    for place, specification in wanted.items():
        specification.write(place)


def train_missing(ablation: Ablation, folder: Path, jobs: int) -> None:
    """Train every run without a result that is finished."""
    places = [folder / run.folder for run in ablation.runs]
    left = [place for place in places if not _finished(result_of(place))]
    for place in left:  # those that failed are tried again
        (place / RESULT).unlink(missing_ok=True)
    total, before = len(places), len(places) - len(left)
    if before:
        log.info("%d of %d runs are finished already", before, total)
    start, ended = time.monotonic(), 0

    def note(index: int, status: int) -> None:
        nonlocal ended
        ended += 1
        with writing("workdir", folder):
            result = collect(left[index], status)
        eta = (time.monotonic() - start) / ended * (len(left) - ended)
        log.info(
            "%s: %s (%d of %d, ETA %.0f min)",
            left[index].relative_to(folder / "runs"),
            describe(result),
            before + ended,
            total,
            eta / 60,
        )
        report(ablation, folder)

    run_jobs([_job("run", place, place / LOG, str(jobs)) for place in left], jobs, note)


def tell_costs(ablation: Ablation, folder: Path, jobs: int) -> None:
    """Find out what each point costs that has a training and no costs yet."""
    places = [folder / run.folder for run in ablation.runs]
    asked = {  # one training of each point
        place.parent: place
        for place in places
        if _finished(result_of(place)) and not read_json(place.parent / COST)
    }
    points = list(asked)

    def note(index: int, status: int) -> None:
        if status:
            said = shorten(_last_line(points[index] / COST_LOG), 200)
            log.info("%s: its costs are not known: %s", points[index].name, said)

    trainings = [_job("cost", asked[point], point / COST_LOG) for point in points]
    run_jobs(trainings, jobs, note)


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


def report(ablation: Ablation, folder: Path) -> Results:
    """Write tables and figures of the results that there are, which are returned."""
    results = {
        run.folder: (read_json((folder / run.folder).parent / COST) or {}) | result
        for run in ablation.runs
        if (result := result_of(folder / run.folder))
    }
    found = find(ablation, results)
    with writing("workdir", folder):
        write_whole(folder / "results.csv", as_csv(found))
        write_whole(folder / "summary.md", as_markdown(ablation, results))
        draw(ablation.name, found, folder)
    return results


def _job(module: str, folder: Path, log: Path, *more: str) -> Job:
    """A process of ours for the run of a folder."""
    command = [sys.executable, "-m", f"train.ablation.{module}", str(folder)]
    return Job([*command, *more], log)


def _finished(result: Mapping[str, Any] | None) -> bool:
    return result is not None and result["status"] == FINISHED


def _last_line(path: Path) -> str:
    return path.read_text(errors="replace").strip().rpartition("\n")[2]
