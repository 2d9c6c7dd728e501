"""DeepLabV3, on CamVid."""

from ml_collections import ConfigDict

from configs import camvid


def get_config() -> ConfigDict:
    """`camvid` with `deeplabv3_tiny`."""
    config = camvid.get_config()
    config.model.name = "deeplabv3_tiny"
    return config
