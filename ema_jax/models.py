"""The one list of the models that exist."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp

from ema_jax.context import CONTEXTS
from ema_jax.networks import ContextNet, DeepLabV3, DeepLabV3Plus, EMANet, PSANet
from ema_jax.options import check_option
from ema_jax.segmenter import Segmenter

Constructor = Callable[..., Segmenter]

TINY: dict[str, Any] = {"stage_sizes": (1, 1, 2, 1), "width": 16, "stem_width": 16}
"""The backbone of all tiny models."""

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
_tiny_context = partial(ContextNet, channels=64, hidden_channels=64, **TINY)
_tiny_context_options: dict[str, dict[str, Any]] = {
    "external_attention": {"num_slots": 16},
    "hamburger": {"num_bases": 16},
}
_tiny: dict[str, Any] = {"channels": 64, "auxiliary_channels": 64, **TINY}
# A quarter of the published rates: further taps would meet nothing but the padding of
# crops of 97, and stay at their random init until a larger image comes.
_tiny_pyramid: dict[str, Any] = {"rates": (3, 6, 9), **_tiny}


def _at_depths(name: str, make: Constructor) -> Iterator[tuple[str, Constructor]]:
    for depth in (50, 101):
        yield f"{name}_r{depth}", partial(make, depth=depth)


def _context_models() -> Iterator[tuple[str, Constructor]]:
    for context in CONTEXTS:
        name = "fcn" if context == "none" else context
        yield from _at_depths(name, partial(ContextNet, context))
        options = _tiny_context_options.get(context, {})
        yield f"{name}_tiny", partial(_tiny_context, context, **options)


MODELS: dict[str, Constructor] = {
    "emanet_r50": partial(EMANet, depth=50),
    "emanet_r101": partial(EMANet, depth=101),
    "emanet_r152": partial(EMANet, depth=152),
    "emanet_r50_256": partial(EMANet, depth=50, channels=256),
    "emanet_r101_256": partial(EMANet, depth=101, channels=256),
    "emanet_r152_256": partial(EMANet, depth=152, channels=256),
    "emanet_r50_mmseg": partial(_mmseg, depth=50),
    "emanet_r101_mmseg": partial(_mmseg, depth=101),
    "emanet_tiny": partial(
        EMANet, channels=64, hidden_channels=64, num_bases=16, **TINY
    ),
    **dict(_context_models()),
    **dict(_at_depths("deeplabv3", DeepLabV3)),
    "deeplabv3_tiny": partial(DeepLabV3, **_tiny_pyramid),
    **dict(_at_depths("deeplabv3plus", DeepLabV3Plus)),
    "deeplabv3plus_r101_no_pooling": partial(DeepLabV3Plus, image_pooling=False),
    "deeplabv3plus_tiny": partial(
        DeepLabV3Plus, low_level_channels=12, **_tiny_pyramid
    ),
    **dict(_at_depths("psanet", PSANet)),
    "psanet_tiny": partial(PSANet, hidden_channels=64, map_size=13, **_tiny),
}
"""Name to constructor.

    >>> MODELS["emanet_r101"](num_classes=21).head.num_classes
    21

The `…_mmseg` are OpenMMLab's variants, which can load its files; `fcn_…` is EMANet
without its unit; `deeplabv3plus_r101_no_pooling` is what comes nearest to the size that
the EMANet paper counts. The tiny ones have one backbone and 64 channels in their heads.
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
