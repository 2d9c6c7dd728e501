"""PASCAL Context: 59 classes and the background."""

from ml_collections import ConfigDict

from configs import default


def get_config(model: str = "emanet_r101") -> ConfigDict:
    """The recipe of VOC, with PASCAL Context's 4 998 training images."""
    config = default.get_config(model)
    config.data.name = "pascal_context"
    return config
