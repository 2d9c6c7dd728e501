"""For VOC's test server, last of three: from trainaug's weights, on trainval.

It has seen val, so its scores there say nothing of how well it does.
"""

from ml_collections import ConfigDict

from configs import voc


def get_config(model: str = "emanet_r101") -> ConfigDict:
    """`voc` on trainval, from the weights of `voc_test_trainaug.py`."""
    config = voc.get_config(model)
    config.data.train_split = "trainval"
    config.data.suspicious = "warn"  # val is a part of it
    return config
