"""The embedded data set on a laptop: a few minutes on two cores, no download."""

from ml_collections import ConfigDict

from configs import default


def get_config(model: str = "emanet_tiny") -> ConfigDict:
    """A tiny model on `shapes`, 700 steps of sixteen 97×97 crops."""
    config = default.get_config(model)
    config.model.pretrained = "random"
    config.model.bn_decay = 0.9
    config.data.name = "shapes"
    config.data.crop_size = (97, 97)
    config.data.scales = (0.75, 1.0, 1.25)
    config.num_steps = 700
    config.optimizer.learning_rate = 0.05
    config.optimizer.pixel_mean = "valid"
    config.evaluation.every = 350
    config.evaluation.canvas_multiple = 160
    config.checkpoint.every = 100
    config.log_every = 20
    return config
