"""CamVid street scenes, 480×360 with 11 classes, in the `folder` layout, on a CPU."""

from ml_collections import ConfigDict

from configs import folder


def get_config(model: str = "emanet_tiny") -> ConfigDict:
    """The `folder` config, with whole images on one canvas of 361×481."""
    config = folder.get_config(model)
    config.evaluation.canvas_multiple = 120
    return config
