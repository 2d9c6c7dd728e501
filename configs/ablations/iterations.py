"""EM iterations in training against EM iterations in evaluation."""

from ml_collections import ConfigDict

from configs.ablations import default


def get_config() -> ConfigDict:
    """Each T of training is trained once a seed, and evaluated at every T."""
    config = default.get_config()
    config.axes = (("T_train", tuple(f"model.num_iters={t}" for t in (1, 2, 3, 5, 8))),)
    config.eval_iters = (1, 2, 3, 4, 5, 6, 7, 8)
    return config
