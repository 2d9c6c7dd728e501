"""For VOC's test server, last of three: from trainaug's weights, on trainval.

It has seen val, so its scores there say nothing of how well it does.
"""

from ml_collections import ConfigDict

from configs import voc_r101


def get_config() -> ConfigDict:
    """`voc_r101` on trainval, from the weights of `voc_test_trainaug.py`."""
    config = voc_r101.get_config()
    config.data.train_split = "trainval"
    return config
