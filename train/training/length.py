"""How long a training is, once its data are known."""

import math
from typing import NamedTuple

from ml_collections import ConfigDict


class Length(NamedTuple):
    """Of a training.

    Attributes:
        num_steps: updates.
        evaluate_every: updates between two evaluations.
    """

    num_steps: int
    evaluate_every: int


def training_length(config: ConfigDict, num_images: int) -> Length:
    """`min(max(⌈num_epochs · num_images / batch_size⌉, min_steps), max_steps)` updates.

    Or `num_steps` where `num_epochs` is None. An evaluation is due at each
    `⌈updates / evaluation.times⌉`, or `evaluation.every` where `times` is None.

    Args:
        config: of the training.
        num_images: of its training split.

    Example:
        >>> from configs import default
        >>> config = default.get_config()  # batches of 16
        >>> config.num_epochs, config.evaluation.times = 3, 4
        >>> training_length(config, num_images=50)
        Length(num_steps=10, evaluate_every=3)
    """
    num_steps, num_epochs = config.num_steps, config.num_epochs
    fewest, most = config.min_steps, config.max_steps
    if num_epochs is not None:
        whole = math.ceil(num_epochs * num_images / config.batch_size)
        num_steps = min(max(whole, fewest), most)
    every, times = config.evaluation.every, config.evaluation.times
    return Length(num_steps, every if times is None else math.ceil(num_steps / times))
