"""EfficientNet-Lite files, by the names of the ported ImageNet weights."""

from collections.abc import Iterable

from ema_jax.weights.table import KeyTable, block_counts, conv_bn_keys

BLOCKS = "_blocks"
CLASSIFIER = ("_conv_head.", "_bn1.", "_fc.")
"""What begins so is for classifying: no backbone has it."""

LAYERS = (
    ("_expand_conv", "_bn0", "expand"),
    ("_depthwise_conv", "_bn1", "depthwise"),
    ("_project_conv", "_bn2", "project"),
)
"""Convolution and batch normalisation of a block there, and their name here."""


def efficientnet_lite_table(names: Iterable[str]) -> KeyTable:
    """Keys of an EfficientNet-Lite with as many blocks as the names say."""
    [blocks] = block_counts(names, [BLOCKS])
    return efficientnet_lite_keys(blocks)


def efficientnet_lite_keys(blocks: int) -> KeyTable:
    """Keys of an EfficientNet-Lite; its first block does not expand."""
    table = conv_bn_keys("_conv_stem", "_bn0", ("backbone", "stem"))
    for block in range(blocks):
        for conv, bn, layer in LAYERS if block else LAYERS[1:]:
            name = f"{BLOCKS}.{block}"
            path = ("backbone", f"block{block + 1}", layer)
            table |= conv_bn_keys(f"{name}.{conv}", f"{name}.{bn}", path)
    return table
