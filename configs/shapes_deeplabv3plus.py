"""DeepLabV3+, on the embedded data set."""

from ml_collections import ConfigDict

from configs import shapes


def get_config() -> ConfigDict:
    """`shapes` with `deeplabv3plus_tiny`."""
    config = shapes.get_config()
    config.model.name = "deeplabv3plus_tiny"
    return config
