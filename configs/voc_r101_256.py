"""EMANet-101 with 256 channels in its EMA unit, on PASCAL VOC 2012 trainaug."""

from ml_collections import ConfigDict

from configs import voc_r101


def get_config() -> ConfigDict:
    """`voc_r101` with the narrower head."""
    config = voc_r101.get_config()
    config.model.name = "emanet_r101_256"
    return config
