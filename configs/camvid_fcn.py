"""EMANet without its unit, on CamVid."""

from ml_collections import ConfigDict

from configs import camvid


def get_config() -> ConfigDict:
    """`camvid` with `fcn_tiny`."""
    config = camvid.get_config()
    config.model.name = "fcn_tiny"
    return config
