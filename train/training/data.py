"""The data of a training: opened first, looked through once the network is known."""

from typing import NamedTuple

from ml_collections import ConfigDict

from train.data import data_options, open_dataset
from train.data.access import RandomAccess
from train.data.corrupt import Split, evaluated_split, tolerant
from train.data.dataset import Dataset
from train.data.jitter import check_jitter
from train.data.repeat import repeat_rare
from train.data.statistics import Statistics
from train.data.users import Augment, load_augment
from train.devices.distributed import meet
from train.inspection.look import check


class Data(NamedTuple):
    """Of a training.

    Attributes:
        dataset: of both splits.
        train: the examples to learn from.
        val: the split to evaluate on.
        augment: the user's own augmentation of `train`.
        num_images: to train on, none repeated, and to evaluate on.
    """

    dataset: Dataset
    train: RandomAccess
    val: Split
    augment: Augment
    num_images: tuple[int, int]


def open_data(config: ConfigDict) -> Data:
    """Both splits, once the first process has prepared them."""
    options = config.data
    dataset = open_dataset(options.name, **data_options(config))
    meet("the data is prepared")
    check_jitter(options.color_jitter, dataset.channels)
    tolerance = options.corrupt, options.max_corrupt
    train = tolerant(dataset.source(options.train_split), *tolerance)
    val = evaluated_split(dataset, options.val_split, *tolerance)
    augment = load_augment(options.augment, dataset.num_classes)
    return Data(dataset, train, val, augment, (len(train), len(val.source)))


def look_through(data: Data, config: ConfigDict) -> tuple[Data, Statistics]:
    """The data with rare classes repeated, and the counts of the training split.

    Raises:
        UserError: something is suspicious, and a training shall stop there.
    """
    options = config.data
    statistics = check(
        data.dataset,
        options.train_split,
        options.val_split,
        suspicious=options.suspicious,
    )
    train = repeat_rare(data.train, statistics.holds, options.repeat_rare, config.seed)
    return data._replace(train=train), statistics
