"""Your own images on a CPU, from ImageNet; see docs/data.md.

Give the data with `--config.data.root=…`: images/, labels/, train.txt, val.txt and the
class names in classes.txt. A model without published weights, such as `emanet_tiny`,
wants `--config.model.pretrained=random --config.model.freeze_bn=false`.
"""

from ml_collections import ConfigDict

from configs import default


def get_config(model: str = "emanet_lite0") -> ConfigDict:
    """A light model, 100 passes of eight 225×225 crops: 250 steps for 20 images."""
    config = default.get_config(model)
    config.num_epochs = 100.0
    config.min_steps = 200
    config.max_steps = 3_000
    config.batch_size = 8
    config.early_stop = 5
    config.log_every = 20
    config.model.pretrained = "imagenet"
    config.model.freeze_bn = True
    if not model.startswith(("deeplab", "psanet")):
        config.model.decoder_channels = 64
        config.model.coarse_logits = True
    config.model.bn_decay = 0.95  # of the head
    config.data.name = "folder"
    config.data.crop_size = (225, 225)
    config.data.repeat_rare = 0.3
    config.data.scales = (0.5, 0.75, 1.0, 1.25, 1.5)
    config.optimizer.learning_rate = 0.02
    config.optimizer.backbone_rate = 0.1
    config.optimizer.pixel_mean = "valid"
    config.evaluation.times = 10
    config.evaluation.batch_size = 8
    config.checkpoint.every = 100
    return config
