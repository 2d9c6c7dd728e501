"""For VOC's test server, second of three: from COCO's weights, on trainaug."""

from ml_collections import ConfigDict

from configs import voc_r101


def get_config() -> ConfigDict:
    """`voc_r101`, from the weights of `voc_test_coco.py`: 30 000 steps."""
    return voc_r101.get_config()
