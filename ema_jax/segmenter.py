"""Segmentation networks: a backbone, a head, and logits at the size of the image."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from ema_jax.backbones import STAGE_SIZES, ResNet
from ema_jax.enlarge import enlarge
from ema_jax.heads import FCNHead
from ema_jax.options import check_counts, check_images, check_option, check_share
from ema_jax.preprocessing import IMAGENET, Preprocessing
from ema_jax.resize import resize_bilinear, resize_on_canvas

Module = TypeVar("Module", bound=nn.Module)


class Segmenter(nn.Module):
    """`logits = resize(head(backbone(images)))`, bilinear.

    Attributes:
        backbone: module (images, *, train, mask) -> stages; see `ema_jax.backbones`.
        head: module (stages, *, train) -> logits at the stride of the features.
        auxiliary_head: another head, for the auxiliary loss of a training.
        align_corners: corner pixels coincide, as in the published networks; False
            puts pixel centres at half-integers, as most of OpenMMLab's.

    Example:
        >>> from functools import partial
        >>> import jax
        >>> from ema_jax.heads import FCNHead
        >>> backbone = ResNet(stage_sizes=(1, 1, 1, 1), width=4, stem_width=4)
        >>> model = Segmenter(backbone, FCNHead(num_classes=5, stage=4))
        >>> images = jnp.zeros((2, 33, 49, 3))
        >>> init = partial(model.init_with_output, train=False)
        >>> jax.eval_shape(init, jax.random.key(0), images)[0].shape
        (2, 33, 49, 5)
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
        """Images (B, H, W, in_channels) to logits (B, H, W, num_classes), float32.

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
        logits = self._resize(self.head(stages, train=train), images, masks)
        if self.auxiliary_head is None or not (auxiliary or self.is_initializing()):
            return logits
        second = self.auxiliary_head(stages, train=train)
        second = self._resize(second, images, masks)
        return (logits, second) if auxiliary else logits

    def _resize(
        self, logits: Array, images: Array, masks: tuple[Array, ...] | None
    ) -> Array:
        """Logits at the size of the images, whose mask is the first."""
        if masks is None:
            size = (images.shape[1], images.shape[2])
            return resize_bilinear(logits, size, align_corners=self.align_corners)
        if self.align_corners:
            return enlarge(logits, masks[0], images)
        small = next(mask for mask in masks if mask.shape == logits.shape[:-1])
        return resize_on_canvas(logits, small, masks[0])

    def _check(self, images: Array, mask: Array | None, auxiliary: bool) -> None:
        check_images(images, mask, in_channels(self))
        if auxiliary and self.auxiliary_head is None:
            raise ValueError(
                "auxiliary=True, but the model has no auxiliary head; "
                "build it with auxiliary_head=True"
            )


def make_segmenter(
    head: Callable[..., nn.Module],
    num_classes: int = 21,
    depth: int | None = 101,
    output_stride: int = 8,
    dropout_rate: float = 0.1,
    dtype: DTypeLike = jnp.float32,
    *,
    backbone: type[nn.Module] = ResNet,
    bn_decay: float = 0.9997,
    auxiliary_head: bool = False,
    auxiliary_channels: int = 256,
    align_corners: bool = True,
    **options: Any,
) -> Segmenter:
    """A dilated backbone with any head.

    Args:
        head: the class of the head.
        num_classes: channels of the logits.
        depth: 50, 101 or 152, of a ResNet whose `stage_sizes` are not given.
        output_stride: 8 or 16 (or 32).
        dropout_rate: of whole channels, before the classifier.
        dtype: compute type, float32 or bfloat16. Parameters, statistics and logits
            are float32.
        backbone: the class of the backbone; see `ema_jax.backbones`.
        bn_decay: share of the old running statistics that BN keeps.
        auxiliary_head: an `FCNHead` on the third stage; see `Segmenter`.
        auxiliary_channels: of that head, before its classifier.
        align_corners: see `Segmenter`.
        **options: further attributes of the backbone, such as `in_channels` or those
            of `ResNet`, and of the head.

    Raises:
        ValueError: an unknown depth, a number out of its range, or an option that
            neither backbone nor head has.

    Example:
        >>> model = make_segmenter(FCNHead, num_classes=5, depth=50, hidden_channels=64)
        >>> model.head.hidden_channels, model.backbone.stage_sizes
        (64, (3, 4, 6, 3))
    """
    check_counts(num_classes=num_classes, auxiliary_channels=auxiliary_channels)
    check_share("dropout_rate", dropout_rate)
    below, above = split_options(backbone, options)
    if backbone is ResNet and below.get("stage_sizes") is None:
        check_option("depth", depth, tuple(STAGE_SIZES))
        below["stage_sizes"] = STAGE_SIZES[depth]  # type: ignore[index]
    shared: dict[str, Any] = {"bn_decay": bn_decay, "dtype": dtype}
    of_heads = {"num_classes": num_classes, "dropout_rate": dropout_rate, **shared}
    return Segmenter(
        backbone=backbone(output_stride=output_stride, **below, **shared),
        head=with_options(head, above, **of_heads),
        auxiliary_head=FCNHead(hidden_channels=auxiliary_channels, **of_heads)
        if auxiliary_head
        else None,
        align_corners=align_corners,
    )


def split_options(
    backbone: type[nn.Module], options: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The attributes of a backbone among options, and the others.

    Example:
        >>> split_options(ResNet, {"width": 8, "channels": 16})
        ({'width': 8}, {'channels': 16})
    """
    fields = backbone.__dataclass_fields__.keys()
    below = {name: value for name, value in options.items() if name in fields}
    return below, {k: value for k, value in options.items() if k not in below}


def with_options(
    kind: Callable[..., Module], options: Mapping[str, Any], **given: Any
) -> Module:
    """`kind(**options, **given)`, where `kind` is the class of a module.

    Raises:
        ValueError: an option that the module does not have; names it first.

    Example:
        >>> with_options(FCNHead, {"kernel": "dot"}, num_classes=5)
        Traceback (most recent call last):
        ValueError: kernel='dot' is no option of FCNHead; it takes bn_decay, \
dropout_rate, dtype, hidden_channels, stage
    """
    fields = getattr(kind, "__dataclass_fields__", {})
    taken = sorted(fields.keys() - {"parent", "name"} - given.keys())
    for name, value in options.items():
        if name not in taken:
            raise ValueError(
                f"{name}={value!r} is no option of {kind.__name__}; "
                f"it takes {', '.join(taken) or 'nothing else'}"
            )
    return kind(**options, **given)


def in_channels(model: nn.Module) -> int:
    """Channels of the images of a network; 3 where its backbone says nothing."""
    return getattr(getattr(model, "backbone", None), "in_channels", 3)


def preprocessing_of(model: nn.Module) -> Preprocessing:
    """What turns bytes into the images of a network, by what its backbone says.

    Example:
        >>> from ema_jax import MODELS
        >>> preprocessing_of(MODELS["emanet_lite0"](in_channels=1)).mean[0] * 255
        127.0
    """
    backbone = getattr(model, "backbone", None)
    stated: Preprocessing = getattr(backbone, "preprocessing", IMAGENET)
    return stated.over(in_channels(model))


def variable_shapes(model: nn.Module) -> dict[str, Any]:
    """Shapes and types of what `init_variables` gives; nothing runs.

    Example:
        >>> from ema_jax import MODELS
        >>> shapes = variable_shapes(MODELS["emanet_tiny"](num_classes=5))
        >>> shapes["params"]["head"]["classifier"]["bias"].shape
        (5,)
    """
    return jax.eval_shape(lambda: init_variables(model, seed=0))


def init_variables(model: nn.Module, seed: int) -> dict[str, Any]:
    """Random parameters and initial statistics.

    One program, traced once for equal models.
    """
    try:
        hash(model)
    except TypeError:  # an attribute is an array
        return initialize(model, jax.random.key(seed))
    return _traced_once(model, jax.random.key(seed))


def initialize(model: nn.Module, key: Array) -> dict[str, Any]:
    """The same by a key, operation by operation."""
    # No parameter depends on the size.
    images = jnp.zeros((1, 65, 65, in_channels(model)))
    return dict(model.init(key, images, train=False))


_traced_once = jax.jit(initialize, static_argnums=0)
