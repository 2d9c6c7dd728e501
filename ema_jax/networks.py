"""The networks of the papers: EMANet, and its rivals with the same backbone."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from ema_jax.backbones import ResNet
from ema_jax.context import CONTEXTS
from ema_jax.emau import EMAU
from ema_jax.heads import ContextHead, DeepLabV3Head, DeepLabV3PlusHead, PSAHead
from ema_jax.heads.deeplab import RATES
from ema_jax.options import check_option
from ema_jax.segmenter import Segmenter, make_segmenter, split_options, with_options


def EMANet(  # noqa: N802 (a model, named as in the paper)
    num_classes: int = 21,
    depth: int | None = 101,
    output_stride: int = 8,
    channels: int = 512,
    num_bases: int = 64,
    dropout_rate: float = 0.1,
    dtype: DTypeLike = jnp.float32,
    **options: Any,
) -> Segmenter:
    """EMANet: a dilated ResNet and a head with EM attention.

    Args:
        num_classes: channels of the logits.
        depth: 50, 101 or 152.
        output_stride: 8 or 16 (or 32).
        channels: channels of the EMA unit; 256 is the variant EMANet-256.
        num_bases: K.
        dropout_rate: of whole channels, before the classifier.
        dtype: compute type, float32 or bfloat16. Parameters, statistics, EM sums and
            logits are float32.
        **options: any other attribute of `EMAU`, and all options of `ContextNet`.

    Raises:
        ValueError: an unknown depth or option.

    Example:
        >>> from functools import partial
        >>> import jax
        >>> model = EMANet(num_classes=5, stage_sizes=(1, 1, 1, 1), width=8,
        ...                channels=16, num_bases=4)
        >>> images = jnp.zeros((1, 33, 33, 3))
        >>> init = partial(model.init_with_output, train=False)
        >>> jax.eval_shape(init, jax.random.key(0), images)[0].shape
        (1, 33, 33, 5)

    Reference:
        Li et al., ICCV 2019, https://arxiv.org/abs/1907.13426.
    """
    return ContextNet(
        "em",
        num_classes,
        depth,
        output_stride,
        channels,
        dropout_rate,
        dtype,
        num_bases=num_bases,
        **options,
    )


def ContextNet(  # noqa: N802
    context: str,
    num_classes: int = 21,
    depth: int | None = 101,
    output_stride: int = 8,
    channels: int = 512,
    dropout_rate: float = 0.1,
    dtype: DTypeLike = jnp.float32,
    *,
    hidden_channels: int = 256,
    bn_decay: float = 0.9997,
    concat_input: bool = False,
    decoder_channels: int | None = None,
    coarse_logits: bool = False,
    backbone: type[nn.Module] = ResNet,
    auxiliary_head: bool = False,
    align_corners: bool = True,
    **options: Any,
) -> Segmenter:
    """EMANet with any context module in the place of its unit.

    Args:
        context: "em", or a name of `CONTEXTS`; "none" is the network without context.
        num_classes: channels of the logits.
        depth: 50, 101 or 152.
        output_stride: 8 or 16 (or 32).
        channels: that the context module sees.
        dropout_rate: of whole channels, before the classifier.
        dtype: compute type.
        hidden_channels: channels before the classifier.
        bn_decay: share of the old running statistics that BN keeps.
        concat_input, decoder_channels, coarse_logits: see `ContextHead`.
        backbone: see `make_segmenter`.
        auxiliary_head: an `FCNHead` of `hidden_channels`; see `Segmenter`.
        align_corners: see `Segmenter`.
        **options: further attributes of the backbone, and of the context module. An
            `axis_name` is of that alone: under `shard_map` and `pmap` all other batch
            statistics stay those of a device, under `jit` they are of the whole batch.

    Raises:
        ValueError: an unknown context, depth or option.

    Example:
        >>> ContextNet("non_local", mode="dot_product").head.context.mode
        'dot_product'
        >>> ContextNet("none", num_bases=64)
        Traceback (most recent call last):
        ValueError: num_bases=64 is no option of NoContext; it takes nothing else
    """
    kinds = {"em": EMAU, **CONTEXTS}
    check_option("context", context, tuple(kinds))
    of_backbone, unit = split_options(backbone, options)
    return make_segmenter(
        ContextHead,
        num_classes,
        depth,
        output_stride,
        dropout_rate,
        dtype,
        backbone=backbone,
        bn_decay=bn_decay,
        auxiliary_head=auxiliary_head,
        auxiliary_channels=hidden_channels,
        align_corners=align_corners,
        context=with_options(kinds[context], unit, bn_decay=bn_decay, dtype=dtype),
        channels=channels,
        hidden_channels=hidden_channels,
        concat_input=concat_input,
        decoder_channels=decoder_channels,
        coarse_logits=coarse_logits,
        **of_backbone,
    )


def DeepLabV3(  # noqa: N802
    num_classes: int = 21,
    depth: int | None = 101,
    output_stride: int = 8,
    channels: int = 256,
    **options: Any,
) -> Segmenter:
    """DeepLabV3: a dilated ResNet and atrous spatial pyramid pooling.

    Args:
        num_classes: channels of the logits.
        depth: 50, 101 or 152.
        output_stride: 8 or 16 (or 32); the dilations of the pyramid follow it.
        channels: of each branch of the pyramid.
        **options: those of `make_segmenter`, other attributes of `DeepLabV3Head`.

    Raises:
        ValueError: an unknown depth or option.

    Example:
        >>> DeepLabV3(output_stride=16).head.rates
        (6, 12, 18)

    Reference:
        Chen et al., https://arxiv.org/abs/1706.05587.
    """
    options = {"rates": pyramid_rates(output_stride), **options}
    return make_segmenter(
        DeepLabV3Head, num_classes, depth, output_stride, channels=channels, **options
    )


def DeepLabV3Plus(  # noqa: N802
    num_classes: int = 21,
    depth: int | None = 101,
    output_stride: int = 8,
    channels: int = 256,
    **options: Any,
) -> Segmenter:
    """DeepLabV3+: DeepLabV3 with a decoder at stride 4.

    Args:
        num_classes, depth, output_stride, channels: see `DeepLabV3`.
        **options: those of `make_segmenter`, other attributes of `DeepLabV3PlusHead`.

    Raises:
        ValueError: an unknown depth or option.

    Example:
        >>> DeepLabV3Plus(num_classes=5, depth=50).head.low_level_channels
        48

    Reference:
        Chen et al., ECCV 2018, https://arxiv.org/abs/1802.02611.
    """
    options = {"rates": pyramid_rates(output_stride), **options}
    return make_segmenter(
        DeepLabV3PlusHead,
        num_classes,
        depth,
        output_stride,
        channels=channels,
        **options,
    )


def PSANet(  # noqa: N802
    num_classes: int = 21,
    depth: int | None = 101,
    output_stride: int = 8,
    channels: int = 512,
    **options: Any,
) -> Segmenter:
    """PSANet: a dilated ResNet and point-wise spatial attention.

    Args:
        num_classes, depth: see `DeepLabV3`.
        output_stride: 8 or 16 (or 32); the map that covers crops of 513 follows it.
        channels: of the features that are collected and distributed.
        **options: those of `make_segmenter`, other attributes of `PSAHead`.

    Raises:
        ValueError: an unknown depth or option.

    Example:
        >>> PSANet().head.map_size, PSANet(output_stride=16).head.map_size
        (65, 33)

    Reference:
        Zhao et al., ECCV 2018; see `PSAHead`.
    """
    options = {"map_size": covering_map(513, output_stride), **options}
    return make_segmenter(
        PSAHead, num_classes, depth, output_stride, channels=channels, **options
    )


def covering_map(side: int, output_stride: int) -> int:
    """Side of PSANet's over-complete map that covers images of a side.

    Example:
        >>> covering_map(513, 8), covering_map(513, 16), covering_map(97, 8)
        (65, 33, 13)
    """
    features = -(-side // output_stride)
    return 2 * -(-features // 2) - 1


def pyramid_rates(output_stride: int) -> tuple[int, ...]:
    """Dilations of the pyramid that cover the image alike at every output stride."""
    return tuple(rate * 8 // output_stride for rate in RATES)


def with_eval_iters(model: Segmenter, eval_iters: int | Array) -> Segmenter:
    """The same network with another number of EM iterations in evaluation.

    Args:
        model: with EM attention.
        eval_iters: may be traced, so that many numbers share one program.

    Raises:
        ValueError: a network without EM attention.

    Example:
        >>> with_eval_iters(EMANet(), 7).head.context.eval_iters
        7
    """
    return _with_unit(model, eval_iters=eval_iters)


def with_eval_window(model: Segmenter, eval_window: tuple[int, int]) -> Segmenter:
    """The same network with EM over windows of the features in evaluation.

    Args:
        model: with EM attention.
        eval_window: height and width, in pixels of the features; see `EMAU`.

    Raises:
        ValueError: a network without EM attention.

    Example:
        >>> with_eval_window(EMANet(), (65, 65)).head.context.eval_window
        (65, 65)
    """
    return _with_unit(model, eval_window=eval_window)


def em_unit(model: Segmenter) -> EMAU:
    """The unit of a network with EM attention; a ValueError where it has none."""
    unit = find_em_unit(model)
    if unit is None:
        has = type(getattr(model.head, "context", None) or model.head).__name__
        raise ValueError(f"the network has no EM attention, but a {has}")
    return unit


def find_em_unit(model: Segmenter) -> EMAU | None:
    """The unit of a network with EM attention; None where it has none."""
    unit = getattr(model.head, "context", None)
    return unit if isinstance(unit, EMAU) else None


def _with_unit(model: Segmenter, **options: Any) -> Segmenter:
    """The same network with other options of its unit."""
    unit = em_unit(model).clone(**options)
    return model.clone(head=model.head.clone(context=unit))
