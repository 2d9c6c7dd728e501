"""The models that exist: what stands in the slot × which backbone."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp

from ema_jax.backbones import EfficientNetLite
from ema_jax.context import CONTEXTS
from ema_jax.networks import ContextNet, DeepLabV3, DeepLabV3Plus, EMANet, PSANet
from ema_jax.options import check_option
from ema_jax.segmenter import Segmenter

Constructor = Callable[..., Segmenter]
Options = Mapping[str, Any]


Size = Literal["full", "light", "tiny"]


class Backbone(NamedTuple):
    """A backbone by its options, and the size of the heads that it takes."""

    options: Options
    size: Size = "full"


class Slot(NamedTuple):
    """A network without its backbone.

    Attributes:
        make: constructor.
        sizes: options of each size of its head; those that are missing it has not.
    """

    make: Constructor
    sizes: Mapping[Size, Options]


BACKBONES: dict[str, Backbone] = {
    "r50": Backbone({"depth": 50}),
    "r101": Backbone({"depth": 101}),
    "r152": Backbone({"depth": 152}),
    "tiny": Backbone(
        {"stage_sizes": (1, 1, 2, 1), "width": 16, "stem_width": 16}, "tiny"
    ),
    **{
        f"lite{version}": Backbone(
            {"backbone": EfficientNetLite, "version": version, "output_stride": 16},
            "light",
        )
        for version in (0, 2)
    },
}
"""Name to backbone; each gives all networks by one line."""

FULL: Mapping[Size, Options] = {"full": {}}

# About as much as a light backbone has itself: 256 channels, which is what the unit of
# the paper's smaller variant sees, and pyramids of half of theirs.
_LIGHT = {"channels": 256, "hidden_channels": 256}
_LIGHT_PYRAMID = {"channels": 128, "auxiliary_channels": 128}
_TINY = {"channels": 64, "auxiliary_channels": 64}
_TINY_CONTEXT = {"channels": 64, "hidden_channels": 64}
# A quarter of the published rates: further taps would meet nothing but the padding of
# crops of 97, and stay at their random init until a larger image comes.
_TINY_PYRAMID = {"rates": (3, 6, 9), **_TINY}
_FEW: dict[str, Options] = {
    "em": {"num_bases": 16},
    "external_attention": {"num_slots": 16},
    "hamburger": {"num_bases": 16},
}


def _with_context(context: str, make: Constructor) -> Slot:
    tiny = {**_TINY_CONTEXT, **_FEW.get(context, {})}
    return Slot(make, {"full": {}, "light": _LIGHT, "tiny": tiny})


_mmseg = partial(
    EMANet,
    stem="deep64",
    multi_grid=(),
    concat_input=True,
    auxiliary_head=True,
    align_corners=False,
    normalize_batch_mean=True,
    bn_decay=0.9,
)

SLOTS: dict[str, Slot] = {
    "emanet_{}": _with_context("em", EMANet),
    "emanet_{}_256": Slot(partial(EMANet, channels=256), FULL),
    "emanet_{}_mmseg": Slot(_mmseg, FULL),
    **{
        "fcn_{}" if context == "none" else f"{context}_{{}}": _with_context(
            context, partial(ContextNet, context)
        )
        for context in CONTEXTS
    },
    "deeplabv3_{}": Slot(
        DeepLabV3, {"full": {}, "light": _LIGHT_PYRAMID, "tiny": _TINY_PYRAMID}
    ),
    "deeplabv3plus_{}": Slot(
        DeepLabV3Plus,
        {
            "full": {},
            "light": {"low_level_channels": 24, **_LIGHT_PYRAMID},
            "tiny": {"low_level_channels": 12, **_TINY_PYRAMID},
        },
    ),
    "deeplabv3plus_{}_no_pooling": Slot(
        partial(DeepLabV3Plus, image_pooling=False), FULL
    ),
    "psanet_{}": Slot(
        PSANet,
        {
            "full": {},
            "light": _LIGHT,
            "tiny": {"hidden_channels": 64, "map_size": 13, **_TINY},
        },
    ),
}
"""Name, around that of the backbone, to what stands in the slot."""


def _models() -> Iterator[tuple[str, Constructor]]:
    for pattern, slot in SLOTS.items():
        for name, backbone in BACKBONES.items():
            if backbone.size in slot.sizes:
                options = {**slot.sizes[backbone.size], **backbone.options}
                yield pattern.format(name), partial(slot.make, **options)


MODELS: dict[str, Constructor] = dict(_models())
"""Name to constructor.

    >>> MODELS["emanet_r101"](num_classes=21).head.num_classes
    21

The `…_mmseg` are OpenMMLab's variants, which can load its files; `fcn_…` is EMANet
without its unit; `deeplabv3plus_r101_no_pooling` is what comes nearest to the size that
the EMANet paper counts. The tiny ones have one backbone and 64 channels in their heads;
`…_lite0` and `…_lite2` stand on an EfficientNet-Lite, at output stride 16 and with
light heads.
"""


class Network(NamedTuple):
    """A model by its name, as a file can say it.

    Attributes:
        name: in `MODELS`.
        num_classes: of its logits.
        options: all others that were given; numbers, strings and tuples of numbers.

    Example:
        >>> Network("emanet_r50", 5, {"dtype": "bfloat16"}).build().head.num_classes
        5
    """

    name: str
    num_classes: int
    options: Mapping[str, Any]

    def build(self) -> Segmenter:
        """The model.

        Raises:
            ValueError: a name or an option that does not exist.
        """
        check_option("network", self.name, tuple(MODELS))
        options = dict(self.options)
        if "dtype" in options:
            options["dtype"] = jnp.dtype(options["dtype"])
        return MODELS[self.name](num_classes=self.num_classes, **options)
