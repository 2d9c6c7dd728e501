"""A non-local block in the place of the EMA unit, on CamVid."""

from ml_collections import ConfigDict

from configs import camvid


def get_config() -> ConfigDict:
    """`camvid` with `non_local_tiny`."""
    config = camvid.get_config()
    config.model.name = "non_local_tiny"
    return config
