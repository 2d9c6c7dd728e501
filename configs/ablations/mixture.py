"""The mixture whose EM the attention is: of directions as published, or Gaussians."""

from ml_collections import ConfigDict

from configs.ablations import default

GAUSSIAN = ("model.kernel=gaussian", "model.normalization=none")
LEARNED = "model.mixing=learned"


def get_config() -> ConfigDict:
    """From the published kernel to the Gaussian mixture whole."""
    config = default.get_config()
    points = (
        "model.kernel=dot",
        GAUSSIAN,
        (*GAUSSIAN, LEARNED),
        (*GAUSSIAN, "model.covariance=spherical", LEARNED),
        (*GAUSSIAN, "model.covariance=diagonal", LEARNED),
    )
    config.axes = (("mixture", points),)
    return config
