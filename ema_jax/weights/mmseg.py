"""OpenMMLab's EMANet files."""

from collections.abc import Iterable, Sequence

from ema_jax.weights.emanet import CONTEXT
from ema_jax.weights.resnet import backbone_keys
from ema_jax.weights.table import (
    KeyTable,
    Target,
    block_counts,
    bn_keys,
    conv_bn_keys,
    conv_keys,
    dense_keys,
)

DEEP_STEM = (
    ("backbone.stem.0", "backbone.stem.1"),
    ("backbone.stem.3", "backbone.stem.4"),
    ("backbone.stem.6", "backbone.stem.7"),
)
CLASSIC_STEM = (("backbone.conv1", "backbone.bn1"),)
STAGES = ("backbone.layer1", "backbone.layer2", "backbone.layer3", "backbone.layer4")
FUSE = "decode_head.conv_cat"
AUXILIARY = "auxiliary_head"


def mmseg_table(names: Iterable[str]) -> KeyTable:
    """Keys of OpenMMLab's EMANet, with what the file has of its optional parts."""
    names = set(names)
    return mmseg_keys(
        tuple(block_counts(names, STAGES)),
        deep="backbone.conv1.weight" not in names,
        concat_input=any(name.startswith(f"{FUSE}.") for name in names),
        auxiliary_head=any(name.startswith(f"{AUXILIARY}.") for name in names),
    )


def mmseg_keys(
    counts: Sequence[int], *, deep: bool, concat_input: bool, auxiliary_head: bool
) -> KeyTable:
    """Keys of OpenMMLab's EMANet with `counts` blocks in its stages."""
    table = backbone_keys(DEEP_STEM if deep else CLASSIC_STEM, STAGES, counts)
    table |= _conv_module_keys("decode_head.ema_in_conv", ("head", "reduce"))
    table |= {
        "decode_head.ema_module.bases": Target(
            ("batch_stats", *CONTEXT, "bases"), "bases"
        )
    }
    table |= dense_keys("decode_head.ema_mid_conv.conv", (*CONTEXT, "conv1"), bias=True)
    table |= dense_keys(
        "decode_head.ema_out_conv.conv", (*CONTEXT, "conv2"), bias=False
    )
    table |= bn_keys("decode_head.ema_out_conv.bn", (*CONTEXT, "bn"))
    table |= _conv_module_keys("decode_head.bottleneck", ("head", "expand"))
    if concat_input:
        table |= _conv_module_keys(FUSE, ("head", "fuse"))
    table |= conv_keys("decode_head.conv_seg", ("head", "classifier"), bias=True)
    if auxiliary_head:
        table |= _conv_module_keys(f"{AUXILIARY}.convs.0", ("auxiliary_head", "conv1"))
        table |= conv_keys(
            f"{AUXILIARY}.conv_seg", ("auxiliary_head", "classifier"), bias=True
        )
    return table


def _conv_module_keys(name: str, path: tuple[str, ...]) -> KeyTable:
    return conv_bn_keys(f"{name}.conv", f"{name}.bn", path)
