"""The released EMANet files."""

from collections.abc import Iterable, Sequence

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
    ("extractor.0.0", "extractor.0.1"),
    ("extractor.0.3", "extractor.0.4"),
    ("extractor.0.6", "extractor.1"),
)
CLASSIC_STEM = (("extractor.0", "extractor.1"),)
STAGES = ("extractor.4", "extractor.5", "extractor.6", "extractor.7")
CONTEXT = ("head", "context")


def emanet_table(names: Iterable[str]) -> KeyTable:
    """Keys of the EMANet release."""
    names = set(names)
    return emanet_keys(
        tuple(block_counts(names, STAGES)), deep="extractor.0.weight" not in names
    )


def emanet_keys(counts: Sequence[int], *, deep: bool) -> KeyTable:
    """Keys of a released EMANet with `counts` blocks in its stages."""
    table = backbone_keys(DEEP_STEM if deep else CLASSIC_STEM, STAGES, counts)
    table |= conv_bn_keys("fc0.conv", "fc0.bn", ("head", "reduce"))
    table |= {"emau.mu": Target(("batch_stats", *CONTEXT, "bases"), "bases")}
    table |= dense_keys("emau.conv1", (*CONTEXT, "conv1"), bias=True)
    table |= dense_keys("emau.conv2.0", (*CONTEXT, "conv2"), bias=False)
    table |= bn_keys("emau.conv2.1", (*CONTEXT, "bn"))
    table |= conv_bn_keys("fc1.0.conv", "fc1.0.bn", ("head", "expand"))
    table |= conv_keys("fc2", ("head", "classifier"), bias=True)
    return table
