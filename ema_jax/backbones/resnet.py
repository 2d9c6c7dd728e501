"""Dilated ResNet with bottleneck blocks: the backbone."""

from functools import partial
from typing import ClassVar, Literal, get_args

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from ema_jax.backbones.features import Features
from ema_jax.layers import ConvBN, add, hide, subsample_mask
from ema_jax.options import check_counts, check_images, check_option
from ema_jax.pooling import max_pool
from ema_jax.preprocessing import IMAGENET, Preprocessing

Stem = Literal["deep128", "deep64", "conv7"]

STAGE_SIZES = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Blocks of each stage, by depth."""

LETTERS: dict[Stem, str] = {"deep128": "s", "deep64": "c", "conv7": ""}
"""Stem to what names of published weights end in."""


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions with a shortcut; the stride is on the 3×3."""

    width: int
    stride: int = 1
    dilation: int = 1
    bn_decay: float = 0.9997
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool, mask: Array | None = None) -> Array:
        """(B, H, W, C) to (B, ⌈H/stride⌉, ⌈W/stride⌉, 4·width)."""
        conv_bn = partial(ConvBN, bn_decay=self.bn_decay, dtype=self.dtype)
        small = subsample_mask(mask, self.stride)
        y = conv_bn(self.width, 1, name="conv1")(x, train=train, mask=mask)
        y = conv_bn(self.width, 3, self.stride, self.dilation, name="conv2")(
            y, train=train, mask=mask
        )
        y = conv_bn(4 * self.width, 1, activation=None, name="conv3")(
            y, train=train, mask=small
        )
        if x.shape != y.shape:
            x = conv_bn(
                4 * self.width, 1, self.stride, activation=None, name="shortcut"
            )(x, train=train, mask=mask)
        return nn.relu(add(x, y))


class ResNet(nn.Module):
    """Dilated residual network; returns the features of its four stages.

    The last stages trade stride for dilation, so that the output has one pixel for
    each `output_stride` pixels of the image. The first block of a dilated stage uses
    half its dilation.

    Attributes:
        stage_sizes: blocks of each of the four stages; see `STAGE_SIZES`.
        output_stride: 8, 16 or 32.
        stem: "deep128" has three 3×3 convolutions of 64, 64, 128 channels, "deep64"
            of 32, 32, 64, "conv7" one of 7×7 and 64. All are followed by a max-pool.
        multi_grid: factors on the dilations of the blocks of stage 4.
        width: channels of the first stage's 3×3 convolutions.
        stem_width: 64 in the published stems; the others scale with it.
        bn_decay: share of the old running statistics that BN keeps.
        dtype: compute type; parameters and statistics are float32.
        in_channels: of the images.
        freeze_bn: training too uses the running statistics, and leaves them alone.

    Raises:
        ValueError: images of another shape, an unknown stem or stride, no channels.

    Example:
        >>> from functools import partial
        >>> import jax
        >>> net = ResNet(stage_sizes=(1, 1, 1, 1), width=8)
        >>> image = jnp.zeros((1, 33, 65, 3))
        >>> init = partial(net.init_with_output, train=False)
        >>> stages, _ = jax.eval_shape(init, jax.random.key(0), image)
        >>> [stage.x.shape for stage in stages]
        [(1, 9, 17, 32), (1, 5, 9, 64), (1, 5, 9, 128), (1, 5, 9, 256)]

    Reference:
        He et al., CVPR 2016; Chen et al., https://arxiv.org/abs/1706.05587.
    """

    stage_sizes: tuple[int, ...] = STAGE_SIZES[101]
    output_stride: int = 8
    stem: Stem = "deep128"
    multi_grid: tuple[int, ...] = (1, 2, 4)
    width: int = 64
    stem_width: int = 64
    bn_decay: float = 0.9997
    dtype: DTypeLike = jnp.float32
    in_channels: int = 3
    freeze_bn: bool = False

    preprocessing: ClassVar[Preprocessing] = IMAGENET

    @property
    def imagenet_weights(self) -> str | None:
        """The name of the published weights of this size, if there are any.

        >>> ResNet(STAGE_SIZES[50]).imagenet_weights
        'resnet50s'
        """
        if (self.width, self.stem_width) == (64, 64):
            for depth, sizes in STAGE_SIZES.items():
                if sizes == self.stage_sizes:
                    return f"resnet{depth}{LETTERS[self.stem]}"
        return None

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
        check_counts(width=self.width, stem_width=self.stem_width)
        check_option("stem", self.stem, get_args(Stem))
        check_option("output_stride", self.output_stride, (8, 16, 32))
        train = train and not self.freeze_bn
        x, mask = self._stem(images.astype(self.dtype), train, mask)
        stages = []
        total_stride, dilation = 4, 1
        for stage, num_blocks in enumerate(self.stage_sizes):
            stride, first_dilation = 1, dilation
            if stage > 0 and total_stride < self.output_stride:
                stride, total_stride = 2, total_stride * 2
            elif stage > 0:
                dilation *= 2
            for block in range(num_blocks):
                grid = self.multi_grid if stage == 3 else ()
                factor = grid[block] if 0 < block < len(grid) else 1
                x = Bottleneck(
                    self.width * 2**stage,
                    stride if block == 0 else 1,
                    (first_dilation if block == 0 else dilation) * factor,
                    self.bn_decay,
                    self.dtype,
                    name=f"stage{stage + 1}_block{block + 1}",
                )(x, train=train, mask=mask)
                mask = subsample_mask(mask, stride if block == 0 else 1)
            stages.append(Features(x, mask))
        return tuple(stages)

    def _stem(self, x: Array, train: bool, mask: Array | None) -> Features:
        width = self.stem_width
        convolutions = {
            "deep128": ((width, 3), (width, 3), (2 * width, 3)),
            "deep64": ((width // 2, 3), (width // 2, 3), (width, 3)),
            "conv7": ((width, 7),),
        }[self.stem]
        for i, (features, kernel_size) in enumerate(convolutions):
            stride = 2 if i == 0 else 1
            x = ConvBN(
                features,
                kernel_size,
                stride,
                bn_decay=self.bn_decay,
                dtype=self.dtype,
                name=f"stem_conv{i + 1}",
            )(x, train=train, mask=mask)
            mask = subsample_mask(mask, stride)
        # Behind a ReLU the zeros of hidden pixels never win: no -∞ is needed there.
        x = max_pool(hide(x, mask))
        return Features(x, subsample_mask(mask, 2))
