"""EfficientNet-Lite: inverted bottlenecks with depthwise convolutions; a backbone."""

import math
from collections.abc import Iterator
from functools import partial
from typing import ClassVar, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from ema_jax.backbones.features import Features
from ema_jax.layers import ConvBN, add, he_normal_depthwise, subsample_mask
from ema_jax.options import check_images, check_option
from ema_jax.preprocessing import Preprocessing

HALVES = Preprocessing(mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
"""(x - 127) / 128, of bytes."""

BN_EPSILON = 1e-3
STEM_WIDTH = 32


class Group(NamedTuple):
    """Blocks of one shape, of which the first has the stride.

    Attributes:
        blocks: how many there are.
        kernel_size: of the depthwise convolution.
        stride: of the first block.
        expansion: channels of that convolution, over those of the input.
        features: channels of the output.
    """

    blocks: int
    kernel_size: int
    stride: int
    expansion: int
    features: int


GROUPS = (
    Group(1, 3, 1, 1, 16),
    Group(2, 3, 2, 6, 24),
    Group(2, 5, 2, 6, 40),
    Group(3, 3, 2, 6, 80),
    Group(3, 5, 1, 6, 112),
    Group(4, 5, 2, 6, 192),
    Group(1, 3, 1, 6, 320),
)
"""Of version 0; the others have more blocks and more channels."""

STAGE_ENDS = (1, 2, 4, 6)
"""The groups that stages end with: the last of each stride from 4 on."""

SCALINGS = {0: (1.0, 1.0), 2: (1.1, 1.2)}
"""Version to the factors on channels and on blocks."""


class Placed(NamedTuple):
    """A block in its network: its shape, and whether a stage ends with it."""

    kernel_size: int
    stride: int
    dilation: int
    expansion: int
    features: int
    ends_stage: bool


def scaled_groups(version: int) -> Iterator[Group]:
    """The groups of a version; the first and the last keep their one block.

    Example:
        >>> [(group.blocks, group.features) for group in scaled_groups(2)]
        [(1, 16), (3, 24), (3, 48), (4, 88), (4, 120), (5, 208), (1, 352)]
    """
    wider, deeper = SCALINGS[version]
    for i, group in enumerate(GROUPS):
        scales = 0 < i < len(GROUPS) - 1
        blocks = math.ceil(group.blocks * deeper) if scales else group.blocks
        features = _multiple_of_8(group.features * wider)
        yield group._replace(blocks=blocks, features=features)


def _multiple_of_8(features: float) -> int:
    """The nearest, unless it is less than nine tenths."""
    nearest = max(8, int(features + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * features else nearest


def placed_blocks(version: int, output_stride: int) -> Iterator[Placed]:
    """The blocks, those past the output stride with dilations for their strides.

    The first block of a group whose stride is traded still has the dilation before.
    """
    total_stride, dilation = 2, 1
    for i, group in enumerate(scaled_groups(version)):
        stride, first_dilation = group.stride, dilation
        if stride > 1 and total_stride >= output_stride:
            stride, dilation = 1, dilation * stride
        total_stride *= stride
        for block in range(group.blocks):
            first, last = block == 0, block == group.blocks - 1
            yield Placed(
                group.kernel_size,
                stride if first else 1,
                first_dilation if first else dilation,
                group.expansion,
                group.features,
                last and i in STAGE_ENDS,
            )


class InvertedBottleneck(nn.Module):
    """1×1 to more channels, depthwise k×k, 1×1 to fewer; ReLU6 behind the first two.

    Attributes:
        placed: its shape. Without an expansion there is no first convolution.
        bn_decay, dtype: see `EfficientNetLite`.
    """

    placed: Placed
    bn_decay: float
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Array, *, train: bool, mask: Array | None = None) -> Array:
        """(B, H, W, C) to (B, ⌈H/stride⌉, ⌈W/stride⌉, features)."""
        kernel_size, stride, dilation, expansion, features, _ = self.placed
        conv_bn = partial(
            ConvBN,
            activation=nn.relu6,
            bn_decay=self.bn_decay,
            bn_epsilon=BN_EPSILON,
            dtype=self.dtype,
        )
        width, y = expansion * x.shape[-1], x
        if expansion > 1:
            y = conv_bn(width, name="expand")(y, train=train, mask=mask)
        y = conv_bn(
            width,
            kernel_size,
            stride,
            dilation,
            groups=width,
            kernel_init=he_normal_depthwise,
            name="depthwise",
        )(y, train=train, mask=mask)
        y = conv_bn(features, activation=None, name="project")(
            y, train=train, mask=subsample_mask(mask, stride)
        )
        return add(x, y) if x.shape == y.shape else y


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite without its last 1×1 convolution, which is for classifying.

    Returns the features of four stages: the last of stride 4, 8 and 16, and the last
    of all, of 24, 40, 112 and 320 channels in version 0. Strides beyond
    `output_stride` are traded for dilations as in `ResNet`. Images have three channels
    normalised by `(x - 127) / 128`.

    Attributes:
        version: 0 or 2.
        output_stride: 8, 16 or 32.
        bn_decay: share of the old running statistics that BN keeps; its ε is 1e-3.
        dtype: compute type; parameters and statistics are float32.
        in_channels: of the images.
        freeze_bn: training too uses the running statistics, and leaves them alone.

    Raises:
        ValueError: images of another shape, an unknown version or stride.

    Example:
        >>> from functools import partial
        >>> import jax
        >>> net = EfficientNetLite(output_stride=16)
        >>> image = jnp.zeros((1, 33, 65, 3))
        >>> init = partial(net.init_with_output, train=False)
        >>> stages, _ = jax.eval_shape(init, jax.random.key(0), image)
        >>> [stage.x.shape for stage in stages]
        [(1, 9, 17, 24), (1, 5, 9, 40), (1, 3, 5, 112), (1, 3, 5, 320)]

    Reference:
        Tan & Le, ICML 2019, https://arxiv.org/abs/1905.11946; the Lite variants have
        ReLU6 for swish, and no squeeze-and-excitation.
    """

    version: int = 0
    output_stride: int = 16
    bn_decay: float = 0.99
    dtype: DTypeLike = jnp.float32
    in_channels: int = 3
    freeze_bn: bool = False

    preprocessing: ClassVar[Preprocessing] = HALVES

    @property
    def imagenet_weights(self) -> str:
        """The name of the published weights."""
        return f"efficientnet_lite{self.version}"

    @nn.compact
    def __call__(
        self, images: Array, *, train: bool, mask: Array | None = None
    ) -> tuple[Features, ...]:
        """Normalised images (B, H, W, in_channels) to the features of stages 1 to 4.

        Args:
            images: normalised images.
            train: use and update the statistics of the batch.
            mask: (B, H, W), true on the image and false on the rest of the canvas.
        """
        check_images(images, mask, self.in_channels)
        check_option("version", self.version, tuple(SCALINGS))
        check_option("output_stride", self.output_stride, (8, 16, 32))
        train = train and not self.freeze_bn
        x = ConvBN(
            STEM_WIDTH,
            3,
            2,
            activation=nn.relu6,
            bn_decay=self.bn_decay,
            bn_epsilon=BN_EPSILON,
            dtype=self.dtype,
            name="stem",
        )(images.astype(self.dtype), train=train, mask=mask)
        mask = subsample_mask(mask, 2)
        stages = []
        blocks = placed_blocks(self.version, self.output_stride)
        for number, placed in enumerate(blocks, start=1):
            block = InvertedBottleneck(
                placed, self.bn_decay, self.dtype, name=f"block{number}"
            )
            x = block(x, train=train, mask=mask)
            mask = subsample_mask(mask, placed.stride)
            if placed.ends_stage:
                stages.append(Features(x, mask))
        return tuple(stages)
