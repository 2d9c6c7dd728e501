"""K, the number of bases."""

from ml_collections import ConfigDict

from configs.ablations import default


def get_config() -> ConfigDict:
    """From 1, which is a mean over the image, to 64."""
    config = default.get_config()
    config.axes = (("K", tuple(f"model.num_bases={k}" for k in (1, 4, 16, 64))),)
    return config
