"""What may stand under a head: modules with one call, and facts about themselves.

`module(images, *, train, mask=None)`: normalised images (B, H, W, in_channels) to the
`Features` of the stages, of strides 4, 8, 16 and, the last, `output_stride`; strides
above it are dilations. An image of 8k+1 sides on a larger canvas gets what it gets
alone.

Besides `in_channels` and `output_stride` a backbone may say its `preprocessing`, that
of ImageNet else, and its `imagenet_weights`, the name of the published ones. With
`freeze_bn` its batch normalisation is that of evaluation in training too, as suits few
images and weights that were trained on many.
"""

from ema_jax.backbones.efficientnet_lite import EfficientNetLite
from ema_jax.backbones.features import Features
from ema_jax.backbones.resnet import STAGE_SIZES, ResNet, Stem

__all__ = ["STAGE_SIZES", "EfficientNetLite", "Features", "ResNet", "Stem"]
