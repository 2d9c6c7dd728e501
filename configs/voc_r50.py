"""EMANet-50 on PASCAL VOC 2012 trainaug, as published."""

from ml_collections import ConfigDict

from configs import voc_r101


def get_config() -> ConfigDict:
    """`voc_r101` with a ResNet-50."""
    config = voc_r101.get_config()
    config.model.name = "emanet_r50"
    return config
