"""Segmentation networks: a backbone, a head, and logits at the size of the image."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from ema_jax.em import Gradient, Kernel, Normalization, check_option
from ema_jax.emau import EMAU, BasesUpdate
from ema_jax.heads import ContextHead, FCNHead
from ema_jax.resize import resize_bilinear, resize_on_canvas
from ema_jax.resnet import STAGE_SIZES, ResNet, Stem


class Segmenter(nn.Module):
    """`logits = resize(head(backbone(images)))`, bilinear.

    Attributes:
        backbone: module (images, *, train, mask) -> stages.
        head: module (stages, *, train) -> logits at the stride of the features.
        auxiliary_head: another head, for the auxiliary loss of a training.
        align_corners: corner pixels coincide, as in the published networks; False
            puts pixel centres at half-integers, as most of OpenMMLab's.
    """

    backbone: nn.Module
    head: nn.Module
    auxiliary_head: nn.Module | None = None
    align_corners: bool = True

    def __call__(
        self,
        images: Array,
        *,
        train: bool,
        mask: Array | None = None,
        auxiliary: bool = False,
    ) -> Array | tuple[Array, Array]:
        """Normalised images (B, H, W, 3) to logits (B, H, W, num_classes), float32.

        Args:
            images: normalised images, zero where the mask is false.
            train: use and update the statistics of the batch; needs the collection
                "batch_stats" mutable and, with dropout, an rng named "dropout".
            mask: (B, H, W), true on the image and false on the rest of the canvas.
                An image of height and width 8k+1 then gets the logits that it
                gets without the canvas.
            auxiliary: return (logits, logits of the auxiliary head).

        Raises:
            ValueError: images not of rank four, a mask of another shape, or auxiliary
                logits of a model without that head.
        """
        self._check(images, mask, auxiliary)
        stages = self.backbone(images, train=train, mask=mask)
        masks = None if mask is None else (mask, *(stage.mask for stage in stages))
        logits = self._resize(self.head(stages, train=train), images.shape, masks)
        if self.auxiliary_head is None or not (auxiliary or self.is_initializing()):
            return logits
        second = self.auxiliary_head(stages, train=train)
        second = self._resize(second, images.shape, masks)
        return (logits, second) if auxiliary else logits

    def _resize(
        self, logits: Array, shape: tuple[int, ...], masks: tuple[Array, ...] | None
    ) -> Array:
        """Logits at the size of images of `shape`, whose mask is the first."""
        if masks is None or self.align_corners:
            size = (shape[1], shape[2])
            return resize_bilinear(logits, size, align_corners=self.align_corners)
        small = next(mask for mask in masks if mask.shape == logits.shape[:-1])
        return resize_on_canvas(logits, small, masks[0])

    def _check(self, images: Array, mask: Array | None, auxiliary: bool) -> None:
        if images.ndim != 4:
            raise ValueError(f"images have shape {images.shape}; give (B, H, W, 3)")
        if mask is not None and mask.shape != images.shape[:-1]:
            raise ValueError(
                f"mask has shape {mask.shape}; images of shape {images.shape} need "
                f"{images.shape[:-1]}"
            )
        if auxiliary and self.auxiliary_head is None:
            raise ValueError(
                "auxiliary=True, but the model has no auxiliary head; "
                "build it with auxiliary_head=True"
            )


def EMANet(  # noqa: N802 (a model, named as in the paper)
    num_classes: int = 21,
    depth: int | None = 101,
    output_stride: int = 8,
    channels: int = 512,
    num_bases: int = 64,
    dropout_rate: float = 0.1,
    dtype: DTypeLike = jnp.float32,
    *,
    stage_sizes: tuple[int, ...] | None = None,
    width: int = 64,
    stem_width: int = 64,
    stem: Stem = "deep128",
    multi_grid: tuple[int, ...] = (1, 2, 4),
    hidden_channels: int = 256,
    bn_decay: float = 0.9997,
    num_iters: int = 3,
    eval_iters: int | None = None,
    bases_decay: float = 0.9,
    bases_update: BasesUpdate = "moving_average",
    kernel: Kernel = "dot",
    normalization: Normalization = "l2",
    gradient: Gradient = "stop",
    temperature: float = 1.0,
    normalize_batch_mean: bool = False,
    concat_input: bool = False,
    auxiliary_head: bool = False,
    align_corners: bool = True,
) -> Segmenter:
    """EMANet: a dilated ResNet and a head with EM attention.

    Args:
        num_classes: channels of the logits.
        depth: 50, 101 or 152.
        output_stride: 8 or 16 (or 32).
        channels: channels of the EMA unit; 256 is the variant EMANet-256.
        num_bases, num_iters, eval_iters, bases_decay, bases_update, kernel,
            normalization, gradient, temperature, normalize_batch_mean: see `EMAU`.
        dropout_rate: of whole channels, before the classifier.
        dtype: compute type, float32 or bfloat16. Parameters, statistics, EM sums and
            logits are float32.
        stage_sizes: blocks of each stage, in place of `depth`.
        width, stem_width, stem, multi_grid: see `ResNet`.
        hidden_channels: channels before the classifier.
        bn_decay: share of the old running statistics that BN keeps.
        concat_input: see `ContextHead`.
        auxiliary_head: an `FCNHead` on the third stage; see `Segmenter`.
        align_corners: see `Segmenter`.

    Raises:
        ValueError: an unknown depth or option.

    Example:
        >>> import jax
        >>> model = EMANet(num_classes=5, stage_sizes=(1, 1, 1, 1), width=8,
        ...                channels=16, num_bases=4)
        >>> images = jnp.zeros((1, 33, 33, 3))
        >>> variables = model.init(jax.random.key(0), images, train=False)
        >>> model.apply(variables, images, train=False).shape
        (1, 33, 33, 5)

    Reference:
        Li et al., ICCV 2019, https://arxiv.org/abs/1907.13426.
    """
    if stage_sizes is None:
        check_option("depth", depth, tuple(STAGE_SIZES))
        stage_sizes = STAGE_SIZES[depth]  # type: ignore[index]
    unit = EMAU(
        num_bases=num_bases,
        num_iters=num_iters,
        eval_iters=eval_iters,
        bases_decay=bases_decay,
        bases_update=bases_update,
        kernel=kernel,
        normalization=normalization,
        gradient=gradient,
        temperature=temperature,
        normalize_batch_mean=normalize_batch_mean,
        bn_decay=bn_decay,
        dtype=dtype,
    )
    auxiliary = FCNHead(
        num_classes,
        hidden_channels,
        dropout_rate=dropout_rate,
        bn_decay=bn_decay,
        dtype=dtype,
    )
    return Segmenter(
        backbone=ResNet(
            stage_sizes,
            output_stride,
            stem,
            multi_grid,
            width,
            stem_width,
            bn_decay,
            dtype,
        ),
        head=ContextHead(
            unit,
            num_classes,
            channels,
            hidden_channels,
            dropout_rate,
            bn_decay,
            dtype,
            concat_input,
        ),
        auxiliary_head=auxiliary if auxiliary_head else None,
        align_corners=align_corners,
    )
