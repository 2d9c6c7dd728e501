"""Hamburger in the place of the EMA unit, on CamVid."""

from ml_collections import ConfigDict

from configs import camvid


def get_config() -> ConfigDict:
    """`camvid` with `hamburger_tiny`."""
    config = camvid.get_config()
    config.model.name = "hamburger_tiny"
    return config
