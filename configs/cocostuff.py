"""COCO-Stuff 10k: 171 classes."""

from ml_collections import ConfigDict

from configs import default


def get_config(model: str = "emanet_r101") -> ConfigDict:
    """The recipe of VOC, with crops of 521 (520 in the paper) and 9 000 images."""
    config = default.get_config(model)
    config.data.name = "cocostuff10k"
    config.data.val_split = "test"
    config.data.crop_size = (521, 521)  # 8k+1 aligns the corners
    return config
