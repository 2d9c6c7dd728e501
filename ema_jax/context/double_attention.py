"""The double attention block: gather features of the whole image, then distribute."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from ema_jax.context.common import PointwiseBN, contract, softmax, to_tokens
from ema_jax.layers import add, pointwise
from ema_jax.options import AxisName, check_features, check_positive


class DoubleAttention(nn.Module):
    """Double attention block of A²-Nets.

    With A (N×c_m), B (N×c_n) and V (N×c_n) three 1×1 convolutions of x::

        gather       G = Aᵀ softmax_tokens(B)      c_m×c_n, one feature per map
        distribute   Z = softmax_maps(V) Gᵀ        N×c_m
                     y = x + BN(W Z)

    Cost O(N · c_m · c_n), linear in the tokens.

    Attributes:
        channels: c_m, of the gathered features; a quarter of the input's by default.
        num_maps: c_n, attention maps; a quarter of the input's channels by default.
        bn_decay: share of the old running statistics that BN keeps.
        axis_name: mapped axis over which the batch is split, if any.
        dtype: compute type. Parameters, statistics, softmax and sums are float32.

    Raises:
        ValueError: `channels` or `num_maps` < 1, an input of fewer than three axes, a
            mask whose shape is not that of the tokens.

    Example:
        >>> import jax
        >>> block = DoubleAttention()
        >>> x = jnp.ones((2, 9, 9, 16))
        >>> init = jax.jit(block.init_with_output, static_argnames="train")
        >>> y, variables = init(jax.random.key(0), x, train=False)
        >>> y.shape, variables["params"]["maps"]["kernel"].shape
        ((2, 9, 9, 16), (16, 4))

    Reference:
        Chen et al., NeurIPS 2018, https://arxiv.org/abs/1810.11579, section 3.
    """

    channels: int | None = None
    num_maps: int | None = None
    bn_decay: float = 0.9997
    axis_name: AxisName | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool, mask: Array | None = None) -> Array:
        """Features (B, *spatial, C) to the same shape.

        Args:
            x: features; `spatial` is any number of axes, (B, N, C) tokens included.
            train: normalise with the statistics of the batch.
            mask: (B, *spatial), true where a token exists.
        """
        check_features(x, mask)
        check_positive("channels", self.channels)
        check_positive("num_maps", self.num_maps)
        tokens, token_mask = to_tokens(x, mask)
        quarter = max(1, x.shape[-1] // 4)
        num_maps = self.num_maps or quarter
        features = pointwise(self.channels or quarter, self.dtype, name="features")
        maps = pointwise(num_maps, self.dtype, name="maps")
        vectors = pointwise(num_maps, self.dtype, name="vectors")

        y = double_attention(
            features(tokens), maps(tokens), vectors(tokens), mask=token_mask
        )
        y = PointwiseBN(
            x.shape[-1],
            bn_decay=self.bn_decay,
            axis_name=self.axis_name,
            dtype=self.dtype,
            name="out",
        )(y, train=train, mask=token_mask)
        return add(x, y.reshape(x.shape))


def double_attention(
    features: Array, maps: Array, vectors: Array, *, mask: Array | None = None
) -> Array:
    """Gather by the softmax of the maps over the tokens, distribute by the vectors'.

    Args:
        features: A, (B, N, c_m).
        maps: B before its softmax over N, (B, N, c_n).
        vectors: V before its softmax over c_n, (B, N, c_n).
        mask: (B, N), true where a token exists; the others weigh nothing.

    Returns:
        Z, (B, N, c_m), in the type of the features.

    Example:
        >>> z = double_attention(jnp.eye(2)[None], jnp.zeros((1, 2, 3)),
        ...                      jnp.zeros((1, 2, 3)))
        >>> z.round(3)
        Array([[[0.5, 0.5],
                [0.5, 0.5]]], dtype=float32)
    """
    where = None if mask is None else mask[..., None]
    gather = softmax(maps, -2, where)
    distribute = softmax(vectors, -1)
    gathered = contract("bnm,bnk->bmk", features, gather)
    return contract("bnk,bmk->bnm", distribute, gathered).astype(features.dtype)
