"""EMANet-101 on PASCAL Context: 59 classes and the background."""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    """The recipe of VOC, with PASCAL Context's 4 998 training images."""
    config = default.get_config()
    config.data.name = "pascal_context"
    return config
