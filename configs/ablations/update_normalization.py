"""How the initial bases μ⁰ are kept, against how the bases are normalised."""

from ml_collections import ConfigDict

from configs.ablations import default

UPDATE = (
    "model.bases_update=moving_average",
    # As a parameter μ⁰ learns through the first step alone: "stop" and "last_step"
    # withhold that.
    ("model.bases_update=gradient", "model.gradient=unroll"),
    "model.bases_update=none",
)
NORMALIZATION = (
    "model.normalization=l2",
    "model.normalization=layer",
    "model.normalization=none",
)


def get_config() -> ConfigDict:
    """Nine points; see `gradient.py` for what "unroll" does by itself."""
    config = default.get_config()
    config.axes = (("update", UPDATE), ("normalization", NORMALIZATION))
    return config
