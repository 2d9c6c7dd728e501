"""PASCAL VOC 2012 trainaug, as published: 10 582 images, 30 000 steps."""

from ml_collections import ConfigDict

from configs import default


def get_config(model: str = "emanet_r101") -> ConfigDict:
    """The default, with the masks of SBD; validated on VOC val."""
    config = default.get_config(model)
    config.data.name = "voc2012aug"
    config.data.train_split = "trainaug"
    return config
