"""Mistakes in the runs of an ablation, found before the first of them trains."""

import json
from collections.abc import Iterable, Mapping

from ml_collections import ConfigDict

from train.ablation.grid import Ablation
from train.ablation.sweep import IterationSweep
from train.config import to_json
from train.data import Dataset
from train.model import build_model
from train.pretrained import RANDOM, read_weights


def check_runs(ablation: Ablation, datasets: Mapping[str, Dataset]) -> None:
    """Build each network once, on shapes alone, and look for all that a run reads.

    Args:
        ablation: what is to be trained.
        datasets: the data set of each run, by its folder.

    Raises:
        UserError: an unknown network, option or split, weights that cannot be read, or
            iterations asked of a network that has none.
    """
    for config, dataset in _distinct(ablation, datasets):
        for split in (config.data.train_split, config.data.val_split):
            dataset.source(split)
        model = build_model(config.model, dataset.num_classes, config.data.crop_size)
        if ablation.eval_iters:
            IterationSweep(model)
    for path in {run.config.model.pretrained for run in ablation.runs}:
        if path and path != RANDOM:
            read_weights(path, f"config.model.pretrained={path}")


def _distinct(
    ablation: Ablation, datasets: Mapping[str, Dataset]
) -> Iterable[tuple[ConfigDict, Dataset]]:
    """A run of each network on each data set."""
    found: dict[str, tuple[ConfigDict, Dataset]] = {}
    for run in ablation.runs:
        config, dataset = run.config, datasets[run.folder]
        parts = to_json(config)
        key = json.dumps([parts["model"], parts["data"]], sort_keys=True)
        found.setdefault(key, (config, dataset))
    return found.values()
