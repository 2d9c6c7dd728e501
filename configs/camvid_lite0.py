"""CamVid street scenes, 480×360 with 11 classes, from ImageNet, on a CPU."""

from ml_collections import ConfigDict

from configs import folder


def get_config(model: str = "emanet_lite0") -> ConfigDict:
    """`folder` for 1 200 steps of eight 257×257 crops, enlarged more than shrunk.

    Nearly every image holds nearly every class, but of poles, signs and people only
    few pixels, which therefore weigh more. Whole images are evaluated on one canvas of
    369×481.
    """
    config = folder.get_config(model)
    config.num_epochs = None
    config.num_steps = 1_200
    config.early_stop = None
    config.model.coarse_logits = None  # as it was measured
    config.data.crop_size = (257, 257)
    config.data.repeat_rare = None
    config.data.scales = (0.75, 1.0, 1.25, 1.5, 1.75)
    config.loss.class_weights = "balanced_log"
    config.optimizer.learning_rate = 0.05
    config.evaluation.times = 2
    config.evaluation.canvas_multiple = 16
    return config
