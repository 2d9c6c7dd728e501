"""For VOC's test server, first of three: a network on COCO with VOC's classes.

Then `voc_test_trainaug.py` and `voc_test_trainval.py`, each from the weights of the one
before.
"""

from ml_collections import ConfigDict

from configs import default


def get_config(model: str = "emanet_r101") -> ConfigDict:
    """150 000 steps on the images of train2017 that show VOC's classes."""
    config = default.get_config(model)
    config.num_steps = 150_000
    config.data.name = "coco_voc"
    return config
