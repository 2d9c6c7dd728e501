"""CamVid street scenes, 480×360 with 11 classes, in the `folder` layout, on a CPU."""

from ml_collections import ConfigDict

from configs import default


def get_config(model: str = "emanet_tiny") -> ConfigDict:
    """A tiny model from random weights, 1 500 steps of eight 257×257 crops.

    Whole images are evaluated on one canvas of 361×481.
    """
    config = default.get_config(model)
    config.num_steps = 1_500
    config.batch_size = 8
    config.model.pretrained = "random"
    config.model.bn_decay = 0.97
    config.data.name = "folder"
    config.data.crop_size = (257, 257)
    config.data.scales = (0.5, 0.75, 1.0, 1.25, 1.5)
    config.optimizer.learning_rate = 0.05
    config.optimizer.pixel_mean = "valid"
    config.evaluation.every = 300
    config.evaluation.batch_size = 8
    config.evaluation.canvas_multiple = 120
    config.checkpoint.every = 100
    return config
