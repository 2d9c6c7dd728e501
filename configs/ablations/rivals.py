"""EM attention against what else may stand in its place, on the same backbone."""

from ml_collections import ConfigDict

from configs.ablations import default

MODELS = (
    "emanet_tiny",
    "fcn_tiny",
    "non_local_tiny",
    "double_attention_tiny",
    "external_attention_tiny",
    "criss_cross_tiny",
    "hamburger_tiny",
    "deeplabv3_tiny",
    "deeplabv3plus_tiny",
    "psanet_tiny",
)


def get_config() -> ConfigDict:
    """Every tiny model under one recipe."""
    config = default.get_config()
    config.axes = (("model", tuple(f"model.name={name}" for name in MODELS)),)
    config.costs = True
    return config
