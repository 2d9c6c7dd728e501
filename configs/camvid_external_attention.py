"""External attention in the place of the EMA unit, on CamVid."""

from ml_collections import ConfigDict

from configs import camvid


def get_config() -> ConfigDict:
    """`camvid` with `external_attention_tiny`."""
    config = camvid.get_config()
    config.model.name = "external_attention_tiny"
    return config
