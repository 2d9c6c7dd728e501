"""PSANet, on the embedded data set."""

from ml_collections import ConfigDict

from configs import shapes


def get_config() -> ConfigDict:
    """`shapes` with `psanet_tiny`."""
    config = shapes.get_config()
    config.model.name = "psanet_tiny"
    return config
