"""Criss-cross attention: every pixel attends to its row and its column, repeatedly."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from ema_jax.context.common import contract, softmax
from ema_jax.layers import add, hide, pointwise, torch_uniform, uniform_bias
from ema_jax.options import check_features, check_positive


class CrissCrossAttention(nn.Module):
    """Recurrent criss-cross attention of CCNet.

    With θ, φ, g three 1×1 convolutions, shared by all passes, and P(i) the pixels of
    the row and the column of pixel i, itself once; `recurrence` times:

        x_i ← x_i + γ Σ_{j ∈ P(i)} softmax_j(θ_iᵀ φ_j) g_j

    Two passes let every pixel see every other. Cost O(N · (H + W) · C) each.

    Attributes:
        channels: of θ and φ; an eighth of the input's by default. g has the input's.
        recurrence: passes.
        bn_decay: taken so that every context module can be built alike; there is no
            batch normalisation here.
        dtype: compute type. Parameters, softmax and sums are float32. γ starts at 0.

    Raises:
        ValueError: `channels` or `recurrence` < 1, an input that has not four axes, a
            mask whose shape is not that of the pixels.

    Example:
        >>> import jax
        >>> unit = CrissCrossAttention()
        >>> x = jnp.ones((2, 9, 7, 16))
        >>> init = jax.jit(unit.init_with_output, static_argnames="train")
        >>> y, variables = init(jax.random.key(0), x, train=False)
        >>> y.shape, variables["params"]["query"]["kernel"].shape
        ((2, 9, 7, 16), (16, 2))

    Reference:
        Huang et al., ICCV 2019, https://arxiv.org/abs/1811.11721, section 3.
    """

    channels: int | None = None
    recurrence: int = 2
    bn_decay: float = 0.9997
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool, mask: Array | None = None) -> Array:
        """Features (B, H, W, C) to the same shape.

        Args:
            x: features.
            train: no difference; taken for the call that all context modules share.
            mask: (B, H, W), true where a pixel exists.
        """
        check_features(x, mask, layout="B H W C")
        check_positive("channels", self.channels)
        check_positive("recurrence", self.recurrence)
        channels = x.shape[-1]
        width = self.channels or max(1, channels // 8)
        layers = {"query": width, "key": width, "value": channels}
        query, key, value = (
            pointwise(
                features,
                self.dtype,
                kernel_init=torch_uniform,
                bias_init=uniform_bias(channels),
                name=name,
            )
            for name, features in layers.items()
        )
        gamma = self.param("gamma", nn.initializers.zeros, (), jnp.float32)
        for _ in range(self.recurrence):
            seen = hide(x, mask)
            y = criss_cross_attention(query(seen), key(seen), value(seen), mask=mask)
            x = add(x, (gamma * y.astype(gamma.dtype)).astype(self.dtype))
        return x


def criss_cross_attention(
    query: Array, key: Array, value: Array, *, mask: Array | None = None
) -> Array:
    """One pass of attention over the row and the column of each pixel.

    Args:
        query, key: (B, H, W, D).
        value: (B, H, W, C).
        mask: (B, H, W), true where a pixel exists; the others get no weight.

    Returns:
        (B, H, W, C), in the type of the value.

    Example:
        >>> value = jnp.arange(4.0).reshape(1, 2, 2, 1)
        >>> flat = jnp.zeros((1, 2, 2, 1))
        >>> y = criss_cross_attention(flat, flat, value)  # means of three pixels each
        >>> 3 * y[0, :, :, 0]
        Array([[3., 4.],
               [5., 6.]], dtype=float32)
    """
    _, height, width, _ = query.shape
    logits = jnp.concatenate(
        [
            contract("bhwd,bgwd->bhwg", query, key),  # column: pixel (g, w) for (h, w)
            contract("bhwd,bhvd->bhwv", query, key),  # row: pixel (h, v) for (h, w)
        ],
        axis=-1,
    )
    weights = softmax(logits, -1, _criss_cross(height, width, mask))
    weights = weights.astype(value.dtype)
    column = contract("bhwg,bgwc->bhwc", weights[..., :height], value)
    row = contract("bhwv,bhvc->bhwc", weights[..., height:], value)
    return (column + row).astype(value.dtype)


def _criss_cross(height: int, width: int, mask: Array | None) -> Array:
    """Who counts, (B or 1, H, W, H + W): the column without the pixel, then the row."""
    others = ~jnp.eye(height, dtype=bool)[None, :, None, :]  # the row has the pixel
    if mask is None:
        mask = jnp.ones((1, height, width), bool)
    shape = (*mask.shape, height)
    column = jnp.broadcast_to(others & jnp.swapaxes(mask, 1, 2)[:, None], shape)
    row = jnp.broadcast_to(mask[:, :, None], (*mask.shape, width))
    return jnp.concatenate([column, row], axis=-1)
