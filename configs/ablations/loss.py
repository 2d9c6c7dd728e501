"""What is minimised, where some classes are rare."""

from ml_collections import ConfigDict

from configs.ablations import default

BALANCED = "loss.class_weights=balanced"


def get_config() -> ConfigDict:
    """The recipe, and what is offered for unequal classes; `base` of CamVid."""
    config = default.get_config()
    config.base = "base/camvid.py"
    points = (
        "loss.class_weights=none",
        BALANCED,
        "loss.dice=1",
        (BALANCED, "loss.dice=1"),
    )
    config.axes = (("loss", points),)
    return config
