"""All of VOC 2012 trainaug for a light model, on one GPU or one small machine."""

from ml_collections import ConfigDict

from configs import voc


def get_config(model: str = "emanet_lite0") -> ConfigDict:
    """`voc` from ImageNet's weights, with crops of 321×321."""
    config = voc.get_config(model)
    config.model.pretrained = "imagenet"
    config.model.bn_decay = 0.99  # as the backbone was trained
    config.data.crop_size = (321, 321)
    config.checkpoint.every = 200
    return config
