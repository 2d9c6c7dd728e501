"""How the gradient flows through EM."""

from ml_collections import ConfigDict

from configs.ablations import default

MODES = ("stop", "last_step", "unroll", "implicit")


def get_config() -> ConfigDict:
    """All four modes."""
    config = default.get_config()
    config.axes = (("gradient", tuple(f"model.gradient={mode}" for mode in MODES)),)
    return config
