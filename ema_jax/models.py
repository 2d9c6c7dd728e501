"""The one list of the models that exist."""

from collections.abc import Callable
from functools import partial

from ema_jax.segmenter import EMANet, Segmenter

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

MODELS: dict[str, Callable[..., Segmenter]] = {
    "emanet_r50": partial(EMANet, depth=50),
    "emanet_r101": partial(EMANet, depth=101),
    "emanet_r152": partial(EMANet, depth=152),
    "emanet_r50_256": partial(EMANet, depth=50, channels=256),
    "emanet_r101_256": partial(EMANet, depth=101, channels=256),
    "emanet_r152_256": partial(EMANet, depth=152, channels=256),
    "emanet_r50_mmseg": partial(_mmseg, depth=50),
    "emanet_r101_mmseg": partial(_mmseg, depth=101),
    "emanet_tiny": partial(
        EMANet,
        stage_sizes=(1, 1, 2, 1),
        width=16,
        stem_width=16,
        channels=64,
        hidden_channels=64,
        num_bases=16,
    ),
}
"""Name to constructor: `MODELS["emanet_r101"](num_classes=21)`.

The `…_mmseg` are OpenMMLab's variants, which can load its files.
"""
