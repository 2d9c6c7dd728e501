"""EMANet without its unit, on the embedded data set."""

from ml_collections import ConfigDict

from configs import shapes


def get_config() -> ConfigDict:
    """`shapes` with `fcn_tiny`."""
    config = shapes.get_config()
    config.model.name = "fcn_tiny"
    return config
