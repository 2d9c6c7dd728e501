"""`shapes` in a few minutes on one core."""

from ml_collections import ConfigDict

from configs import shapes


def get_config() -> ConfigDict:
    """500 steps of sixteen 65×65 crops, evaluated at the end.

    After 200 steps a network knows the textures but not yet the light of a scene, and
    context does not show.
    """
    config = shapes.get_config()
    config.num_steps = 500
    config.data.crop_size = (65, 65)
    config.evaluation.every = 1_000_000  # the last step is evaluated
    config.evaluation.num_pictures = 0
    config.checkpoint.every = 100
    config.checkpoint.keep_last = 1
    return config
