"""Criss-cross attention in the place of the EMA unit, on the embedded data set."""

from ml_collections import ConfigDict

from configs import shapes


def get_config() -> ConfigDict:
    """`shapes` with `criss_cross_tiny`."""
    config = shapes.get_config()
    config.model.name = "criss_cross_tiny"
    return config
