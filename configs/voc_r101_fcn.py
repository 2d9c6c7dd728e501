"""EMANet without its unit, on PASCAL VOC 2012."""

from ml_collections import ConfigDict

from configs import voc_r101


def get_config() -> ConfigDict:
    """`voc_r101` with another head."""
    config = voc_r101.get_config()
    config.model.name = "fcn_r101"
    return config
