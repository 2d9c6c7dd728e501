"""Models that compile in seconds."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax import Array

from ema_jax import EMAU, EMANet, Segmenter
from ema_jax.backbones import Features
from ema_jax.heads import ContextHead, FCNHead
from ema_jax.layers import ConvBN, subsample_mask
from ema_jax.segmenter import variable_shapes, with_options

MICRO = partial(
    EMANet,
    stage_sizes=(1, 1, 1, 1),
    width=4,
    stem_width=4,
    channels=8,
    hidden_channels=8,
    num_bases=4,
)
"""EMANet, as narrow as can be."""


class ThreeConvolutions(nn.Module):
    """In the place of a ResNet."""

    bn_decay: float
    in_channels: int = 3
    output_stride: int = 8
    every_stage: bool = False

    @nn.compact
    def __call__(
        self, x: Array, *, train: bool, mask: Array | None = None
    ) -> tuple[Features, ...]:
        """(B, H, W, C) to (B, ⌈H/8⌉, ⌈W/8⌉, 8); or to four stages, from stride 4 on."""
        stages = []
        for i in range(3):
            conv = ConvBN(8, 3, 2, bn_decay=self.bn_decay, name=f"conv{i}")
            x = conv(x, train=train, mask=mask)
            mask = subsample_mask(mask, 2)
            stages.append(Features(x, mask))
        if self.every_stage:
            return (stages[1], *3 * stages[2:])
        return (stages[2],)


def NANO(  # noqa: N802
    num_classes: int,
    bn_decay: float = 0.9,
    dropout_rate: float = 0.1,
    auxiliary_head: bool = False,
    in_channels: int = 3,
    **_: object,
) -> Segmenter:
    """The head of EMANet on three convolutions; other options are not looked at."""
    shared = {"num_classes": num_classes, "bn_decay": bn_decay}
    shared |= {"dropout_rate": dropout_rate, "hidden_channels": 8}
    return Segmenter(
        ThreeConvolutions(bn_decay, in_channels),
        ContextHead(EMAU(num_bases=4, bn_decay=bn_decay), channels=8, **shared),
        FCNHead(stage=1, **shared) if auxiliary_head else None,
    )


def SMALL(  # noqa: N802
    num_classes: int,
    bn_decay: float = 0.9,
    dropout_rate: float = 0.1,
    output_stride: int = 8,
    dtype: object = None,
    in_channels: int = 3,
    **unit: Any,
) -> Segmenter:
    """NANO with the options of EMAU, and as many parameters as MICRO."""
    return Segmenter(
        ThreeConvolutions(bn_decay, in_channels),
        ContextHead(
            with_options(EMAU, {"num_bases": 4, **unit}, bn_decay=bn_decay),
            num_classes,
            channels=24,
            hidden_channels=152,
            dropout_rate=dropout_rate,
            bn_decay=bn_decay,
        ),
    )


def lively(model: nn.Module) -> dict[str, Any]:
    """Variables as a training leaves them: no statistic, scale or bias at its start."""
    rng = np.random.default_rng(0)

    def draw(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        name = path[-1].key
        if name in ("var", "scale"):
            return rng.uniform(0.5, 2.0, leaf.shape).astype(np.float32)
        spread = 1 / np.sqrt(np.prod(leaf.shape[:-1])) if name == "kernel" else 0.3
        return rng.normal(0, spread, leaf.shape).astype(np.float32)

    return jax.tree.map_with_path(draw, variable_shapes(model))
