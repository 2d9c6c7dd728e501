"""PSANet, on CamVid."""

from ml_collections import ConfigDict

from configs import camvid


def get_config() -> ConfigDict:
    """`camvid` with `psanet_tiny`."""
    config = camvid.get_config()
    config.model.name = "psanet_tiny"
    return config
