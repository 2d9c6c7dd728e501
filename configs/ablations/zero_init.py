"""Attention that is there from the first step, against one that is faded in."""

from ml_collections import ConfigDict

from configs.ablations import default

MODELS = ("emanet_tiny", "non_local_tiny")


def get_config() -> ConfigDict:
    """Both modules, each begun both ways."""
    config = default.get_config()
    config.axes = (
        ("model", tuple(f"model.name={name}" for name in MODELS)),
        ("zero_init", ("model.zero_init=True", "model.zero_init=False")),
    )
    return config
