"""For VOC's test server, second of three: from COCO's weights, on trainaug."""

from ml_collections import ConfigDict

from configs import voc


def get_config(model: str = "emanet_r101") -> ConfigDict:
    """`voc`, from the weights of `voc_test_coco.py`: 30 000 steps."""
    return voc.get_config(model)
