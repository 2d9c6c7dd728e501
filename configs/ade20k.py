"""ADE20K: 150 classes, 20 210 images."""

from ml_collections import ConfigDict

from configs import default


def get_config(model: str = "emanet_r101") -> ConfigDict:
    """The recipe of VOC on ADE20K, for 80 000 steps: no published numbers exist."""
    config = default.get_config(model)
    config.num_steps = 80_000
    config.data.name = "ade20k"
    return config
