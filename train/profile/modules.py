"""EMAU and every rival, each alone, and what it takes."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from ema_jax import EMAU
from ema_jax.backbones import Features
from ema_jax.context import CONTEXTS, NonLocal
from ema_jax.heads import DeepLabV3Head, DeepLabV3PlusHead, PSAHead
from ema_jax.networks import covering_map

NUM_CLASSES = 21
"""Classes of PASCAL VOC, as in the paper's table."""

QUERY_CHUNK = 512
"""Tokens that non-local attends from at a time, about: the N² weights never exist at
once. Of 64, 128, … 2048 and all at once this was the fastest on a CPU."""

HEADS = ("deeplabv3", "deeplabv3plus", "psa")
KINDS = ("em", *CONTEXTS, *HEADS)


def context_modules(
    side: int, dtype: DTypeLike, device: jax.Device
) -> dict[str, nn.Module]:
    """Every module that may stand in a `ContextHead`, and the heads of the others.

    Non-local in each of its ways, whose names say the way behind a comma. PSA's map
    covers features of side × side.
    """
    modules: dict[str, nn.Module] = {"em": EMAU(dtype=dtype)}
    modules |= {name: make(dtype=dtype) for name, make in CONTEXTS.items()}
    modules |= _non_local(side**2, dtype, device)
    modules["deeplabv3"] = DeepLabV3Head(NUM_CLASSES, dtype=dtype)
    modules["deeplabv3plus"] = DeepLabV3PlusHead(NUM_CLASSES, dtype=dtype)
    modules["psa"] = PSAHead(NUM_CLASSES, map_size=covering_map(side, 1), dtype=dtype)
    return modules


def _non_local(
    pixels: int, dtype: DTypeLike, device: jax.Device
) -> dict[str, nn.Module]:
    """Non-local in chunks on a CPU and all at once elsewhere, then its other ways.

    The fused kernel, for NVIDIA's GPUs, has no N² weights either, and half precision.
    """
    chunk = -(-pixels // -(-pixels // QUERY_CHUNK))  # hardly any padding
    whole = NonLocal(dtype=dtype)
    chunks = NonLocal(query_chunk=chunk, dtype=dtype)
    if device.platform == "cpu":
        modules = {"non_local": chunks, "non_local, all at once": whole}
    else:
        modules = {"non_local": whole, "non_local, in chunks": chunks}
    if "cuda" in device.client.platform_version and dtype == jnp.bfloat16:
        fused = NonLocal(implementation="cudnn", dtype=dtype)
        modules["non_local, fused"] = fused
    modules["non_local, dot product"] = NonLocal(mode="dot_product", dtype=dtype)
    return dict[str, nn.Module](modules)


def inputs_of(module: nn.Module, side: int, channels: int, dtype: DTypeLike) -> Any:
    """Shapes of what a module takes: features of side × side, or those of the stages.

    DeepLabV3+ also reads stage 1, which has an eighth of the channels of the last one
    in a ResNet, and at output stride 8 sides of 2·side - 1.
    """

    def features(side: int, channels: int) -> Any:
        return jax.ShapeDtypeStruct((1, side, side, channels), dtype)

    last = features(side, channels)
    if isinstance(module, DeepLabV3PlusHead):
        low = features(2 * side - 1, max(1, channels // 8))
        return Features(low, None), Features(last, None)
    if isinstance(module, DeepLabV3Head | PSAHead):
        return (Features(last, None),)
    return last


def kind(name: str) -> str:
    """What a module is, whichever way it is computed.

    Example:
        >>> kind("non_local, all at once")
        'non_local'
    """
    return name.partition(",")[0]
