"""A non-local block in the place of the EMA unit, on the embedded data set."""

from ml_collections import ConfigDict

from configs import shapes


def get_config() -> ConfigDict:
    """`shapes` with `non_local_tiny`."""
    config = shapes.get_config()
    config.model.name = "non_local_tiny"
    return config
