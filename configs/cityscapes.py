"""Cityscapes: 19 classes, whole images of 2048×1024."""

from ml_collections import ConfigDict

from configs import default


def get_config(model: str = "emanet_r101") -> ConfigDict:
    """80 000 steps of eight 769×769 crops, that learn from their hard pixels."""
    config = default.get_config(model)
    config.num_steps = 80_000
    config.batch_size = 8
    config.data.name = "cityscapes"
    config.data.crop_size = (769, 769)
    # the mean over the hard pixels, however few they become
    config.optimizer.pixel_mean = "valid"
    config.optimizer.ohem_threshold = 0.7
    config.optimizer.ohem_min_kept = 100_000
    config.evaluation.batch_size = 8
    config.evaluation.canvas_multiple = 1024  # one canvas of 1025×2049
    return config
