"""ResNet files: torchvision's and timm's names, and the deep stem of ImageNet files."""

from collections.abc import Iterable, Sequence

from ema_jax.weights.table import KeyTable, block_counts, conv_bn_keys

Stem = Sequence[tuple[str, str]]
"""Names of the convolution and the batch normalisation of each stem convolution."""

DEEP_STEM = (("conv1.0", "conv1.1"), ("conv1.3", "conv1.4"), ("conv1.6", "bn1"))
CLASSIC_STEM = (("conv1", "bn1"),)
STAGES = ("layer1", "layer2", "layer3", "layer4")


def resnet_table(names: Iterable[str]) -> KeyTable:
    """Keys of an ImageNet ResNet with a classic or a deep stem."""
    names = set(names)
    return resnet_keys(
        tuple(block_counts(names, STAGES)), deep="conv1.0.weight" in names
    )


def resnet_keys(counts: Sequence[int], *, deep: bool) -> KeyTable:
    """Keys of an ImageNet ResNet with `counts` blocks in its stages."""
    return backbone_keys(DEEP_STEM if deep else CLASSIC_STEM, STAGES, counts)


def backbone_keys(stem: Stem, stages: Sequence[str], counts: Sequence[int]) -> KeyTable:
    """Keys of a backbone.

    Args:
        stem: names of convolution and batch normalisation of each stem convolution.
        stages: name of each stage.
        counts: blocks of each stage.
    """
    table: KeyTable = {}
    for i, (conv, bn) in enumerate(stem, start=1):
        table |= conv_bn_keys(conv, bn, ("backbone", f"stem_conv{i}"))
    for stage, (prefix, count) in enumerate(zip(stages, counts, strict=True), start=1):
        for block in range(count):
            path = ("backbone", f"stage{stage}_block{block + 1}")
            name = f"{prefix}.{block}"
            for i in (1, 2, 3):
                table |= conv_bn_keys(
                    f"{name}.conv{i}", f"{name}.bn{i}", (*path, f"conv{i}")
                )
            if block == 0:
                table |= conv_bn_keys(
                    f"{name}.downsample.0", f"{name}.downsample.1", (*path, "shortcut")
                )
    return table
