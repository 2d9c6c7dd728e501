"""Mistakes of the trainings that show before any of them runs."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
from ml_collections import ConfigDict

from ema_jax.segmenter import init_variables
from train.ablation.grid import Ablation
from train.ablation.sweep import IterationSweep
from train.configuration.config import to_json
from train.data import Dataset
from train.model.build import build_model
from train.model.pretrained import check_fit, given_weights
from train.user.errors import UserError


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
