"""The head of PSANet: every pixel predicts what it collects, and what it gives."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from ema_jax.backbones import Features
from ema_jax.enlarge import double
from ema_jax.heads.common import classify, head_conv
from ema_jax.layers import conv, subsample_mask, torch_uniform

ABSENT = -1e30
"""Logit of a pair that does not exist: its weight underflows to 0, without NaN."""


class PSAHead(nn.Module):
    """The head of PSANet: point-wise spatial attention in both directions.

    Each pixel i of the reduced, half-sized features x predicts logits h_i(Δ) for every
    offset Δ from itself, the over-complete map; they are another h in each direction:

        collect      z_i = Σ_j softmax_j(h_i(j-i)) x_j
        distribute   z_i = Σ_j softmax_j(h_j(i-j)) x_j

    `logits = classify(C₃ [features, upsample(P [z_collect, z_distribute])])`. The paper
    writes 1/N where its authors train with a softmax over the sources j, as here.

    For features of H×W the paper's map has (2H-1)×(2W-1) channels at H×W half-sized,
    so that its networks take images of one size. Here its side is `map_size`, whatever
    the image: pixels further apart than it reaches have no weight for each other, and
    offsets that lead out of the image are left out.

    Over ResNet-101 it adds 27.9 M parameters and 97.4 G multiply-adds at 513², of
    which the 3×3 convolution C₃ over the features of the backbone, that every FCN has,
    is 9.4 M and 39.9 G, and the two sums over j 1.2 G. The EMANet paper's 18.5 M and
    56.3 G are what remains.

    Attributes:
        num_classes: channels of the logits.
        channels: of x.
        hidden_channels: channels before the classifier.
        map_size: side of the over-complete map, odd; 65 covers crops of 513 at output
            stride 8. Offsets that no training crop has are never trained.
        dropout_rate: of whole channels, before the classifier.
        bn_decay: share of the old running statistics that BN keeps.
        dtype: compute type of the convolutions; softmax and logits are float32.

    Raises:
        ValueError: an even `map_size`.

    Reference:
        Zhao et al., PSANet: Point-wise Spatial Attention Network for Scene Parsing,
        ECCV 2018.
    """

    num_classes: int
    channels: int = 512
    hidden_channels: int = 512
    map_size: int = 65
    dropout_rate: float = 0.1
    bn_decay: float = 0.9997
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, stages: tuple[Features, ...], *, train: bool) -> Array:
        """Features of the stages to logits (B, h, w, num_classes), float32."""
        if self.map_size < 1 or self.map_size % 2 == 0:
            raise ValueError(f"map_size={self.map_size}; give an odd number")
        features, mask = stages[-1]
        small = subsample_mask(mask, 2)
        both = [
            self._branch(name, features, mask, train=train)
            for name in ("collect", "distribute")
        ]
        x = self._conv_bn(features.shape[-1], "project", 1)(
            jnp.concatenate(both, axis=-1), train=train, mask=small
        )
        x = double(x, small, features)
        x = jnp.concatenate([features.astype(x.dtype), x], axis=-1)
        x = self._conv_bn(self.hidden_channels, "fuse", 3)(x, train=train, mask=mask)
        return classify(x, self.num_classes, self.dropout_rate, train=train)

    def _branch(
        self, name: str, features: Array, mask: Array | None, *, train: bool
    ) -> Array:
        """One direction: (B, H, W, C) to (B, ⌈H/2⌉, ⌈W/2⌉, channels)."""
        x = self._conv_bn(self.channels, f"{name}_reduce", 1)(
            features, train=train, mask=mask
        )[:, ::2, ::2]
        mask = subsample_mask(mask, 2)
        maps = self._conv_bn(self.channels, f"{name}_attend", 1)(
            x, train=train, mask=mask
        )
        maps = conv(
            self.map_size**2,
            dtype=self.dtype,
            kernel_init=torch_uniform,
            name=f"{name}_map",
        )(maps)
        maps = maps.reshape(*maps.shape[:3], self.map_size, self.map_size)
        logits = between_pixels(maps.astype(jnp.float32))
        if name == "distribute":
            logits = logits.swapaxes(1, 2)
        if mask is not None:
            logits = jnp.where(mask.reshape(mask.shape[0], 1, -1), logits, ABSENT)
        weights = jax.nn.softmax(logits, axis=-1).astype(x.dtype)
        tokens = x.reshape(x.shape[0], -1, self.channels)
        return jnp.einsum("bij,bjc->bic", weights, tokens).reshape(x.shape)

    def _conv_bn(self, features: int, name: str, kernel_size: int) -> nn.Module:
        return head_conv(
            features, self.bn_decay, self.dtype, name, kernel_size=kernel_size
        )


def between_pixels(maps: Array) -> Array:
    """What each pixel says of each other, from what it says of each offset.

    Args:
        maps: (B, H, W, m, n), odd m and n; the offset (0, 0) is in the middle.

    Returns:
        (B, HW, HW), `[b, i, j] = maps[b, i, middle + j - i]`; `ABSENT` where the map
        does not reach.

    Example:
        >>> maps = jnp.array([-1.0, 0.0, 1.0]) * jnp.ones((1, 1, 3, 1, 3))
        >>> jnp.maximum(between_pixels(maps)[0], -9)
        Array([[ 0.,  1., -9.],
               [-1.,  0.,  1.],
               [-9., -1.,  0.]], dtype=float32)
    """
    batch, height, width = maps.shape[:3]
    x = _fit(_fit(maps, height, 3), width, 4)
    x = _skew(jnp.einsum("bhwmn->bwnhm", x))  # (B, W, 2W-1, H, H)
    x = _skew(jnp.einsum("bwnhg->bhgwn", x))  # (B, H, H, W, W)
    return jnp.einsum("bhgwv->bhwgv", x).reshape(batch, height * width, -1)


def _fit(x: Array, size: int, axis: int) -> Array:
    """Crop or pad an axis of odd length at both ends, to `2·size - 1`."""
    margin = size - 1 - x.shape[axis] // 2
    if margin < 0:
        return jax.lax.slice_in_dim(x, -margin, x.shape[axis] + margin, axis=axis)
    widths = [(0, 0)] * x.ndim
    widths[axis] = (margin, margin)
    return jnp.pad(x, widths, constant_values=ABSENT)


def _skew(x: Array) -> Array:
    """(..., n, 2n-1) to (..., n, n): `[i, j]` of the result is `[i, n-1+j-i]`.

    One more column makes each row begin one place later when the rows are cut anew.
    """
    *rest, n, _ = x.shape
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, 1)]).reshape(*rest, 2 * n * n)
    x = x[..., n - 1 : n - 1 + n * (2 * n - 1)]
    return x.reshape(*rest, n, 2 * n - 1)[..., :n]
