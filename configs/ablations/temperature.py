"""λ, the inverse temperature of the E step."""

from ml_collections import ConfigDict

from configs.ablations import default


def get_config() -> ConfigDict:
    """Around the published 1."""
    config = default.get_config()
    values = (0.25, 0.5, 1, 2, 4)
    config.axes = (("temperature", tuple(f"model.temperature={v}" for v in values)),)
    return config
