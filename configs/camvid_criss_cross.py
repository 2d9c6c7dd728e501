"""Criss-cross attention in the place of the EMA unit, on CamVid."""

from ml_collections import ConfigDict

from configs import camvid


def get_config() -> ConfigDict:
    """`camvid` with `criss_cross_tiny`."""
    config = camvid.get_config()
    config.model.name = "criss_cross_tiny"
    return config
