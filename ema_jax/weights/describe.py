"""Variables in words: whose they are, and what of them does not fit."""

from collections.abc import Iterable, Mapping
from typing import Any

from flax.traverse_util import flatten_dict

from ema_jax.backbones import STAGE_SIZES
from ema_jax.weights.architecture import backbone_options, count_classes, is_backbone

DEPTHS = {sizes: depth for depth, sizes in STAGE_SIZES.items()}
"""Blocks of the four stages to the published depth."""

TELLING = {
    "head/context/conv1": "EM attention",
    "head/context/gamma": "criss-cross attention",
    "head/context/query": "non-local attention",
    "head/context/maps": "double attention",
    "head/context/memory_keys": "external attention",
    "head/context/lower": "Hamburger",
    "head/expand": "FCN",
    "head/low_level": "DeepLabV3+",
    "head/aspp": "DeepLabV3",
    "head/collect_map": "PSANet",
}
"""Parameters to the network that has them; the first that is there tells."""

SHOWN = 3


def describe(variables: Mapping[str, Any]) -> str:
    """Whose variables these are, such as "EM attention on a ResNet-50, 21 classes".

    Example:
        >>> from ema_jax import MODELS
        >>> from ema_jax.segmenter import variable_shapes
        >>> describe(variable_shapes(MODELS["emanet_tiny"](num_classes=3)))
        'EM attention on a ResNet of 1, 1, 2, 1 blocks, width 16, 3 classes'
    """
    backbone = _backbone(variables)
    if is_backbone(variables):
        return f"{backbone} alone"
    names = flatten_dict(variables["params"], sep="/")
    head = next(
        (
            text
            for marker, text in TELLING.items()
            if any(name.startswith(f"{marker}/") for name in names) or marker in names
        ),
        "an unknown head",
    )
    try:
        classes = f", {count_classes(variables)} classes"
    except ValueError:
        classes = ""
    return f"{head} on {backbone}{classes}"


def _backbone(variables: Mapping[str, Any]) -> str:
    try:
        options = backbone_options(variables["params"]["backbone"])
    except (KeyError, ValueError):
        return "a backbone of another kind"
    if "version" in options:
        return f"an EfficientNet-Lite{options['version']}"
    sizes = options["stage_sizes"]
    blocks = ", ".join(map(str, sizes))
    name = f"-{DEPTHS[sizes]}" if sizes in DEPTHS else f" of {blocks} blocks"
    width = "" if options["width"] == 64 else f", width {options['width']}"
    return f"a ResNet{name}{width}"


def few(texts: Iterable[str]) -> str:
    """The first of them, and how many there are more.

    Example:
        >>> few("abcdefgh")
        'a, b, c and 5 more'
    """
    texts = list(texts)
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more
