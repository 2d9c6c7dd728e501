"""External attention: tokens attend to a small memory that is learnt."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from ema_jax.context.common import PointwiseBN, contract, softmax, to_tokens
from ema_jax.layers import add, he_normal_fan_out, pointwise
from ema_jax.options import AxisName, check_features, check_positive

EPSILON = 1e-9


class ExternalAttention(nn.Module):
    """External attention, with the convolutions of its segmentation network.

    With F = W₁ x + b₁ (N×C) and two learnt memories M_k, M_v (S×C):

        Â = softmax_tokens(F M_kᵀ)
        A = Â / (ε + Σ_s Â)
        y = ReLU(x + BN(W₂ A M_v))

    Cost O(N · S · C), linear in the tokens.

    Attributes:
        num_slots: S, rows of each memory.
        bn_decay: share of the old running statistics that BN keeps.
        axis_name: mapped axis over which the batch is split, if any.
        dtype: compute type. Parameters, statistics and normalisations are float32.

    Raises:
        ValueError: `num_slots` < 1, an input of fewer than three axes, a mask whose
            shape is not that of the tokens.

    Example:
        >>> import jax
        >>> unit = ExternalAttention(num_slots=8)
        >>> x = jnp.ones((2, 9, 9, 16))
        >>> init = jax.jit(unit.init_with_output, static_argnames="train")
        >>> y, variables = init(jax.random.key(0), x, train=False)
        >>> y.shape, variables["params"]["memory_keys"].shape
        ((2, 9, 9, 16), (8, 16))

    Reference:
        Guo et al., "Beyond Self-attention: External Attention using Two Linear Layers
        for Visual Tasks", 2021, https://arxiv.org/abs/2105.02358, section 3.2.
    """

    num_slots: int = 64
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
        check_positive("num_slots", self.num_slots)
        tokens, token_mask = to_tokens(x, mask)
        channels = x.shape[-1]
        shape = (self.num_slots, channels)
        keys = self.param("memory_keys", memory_keys_init, shape, jnp.float32)
        values = self.param("memory_values", he_normal_fan_out, shape, jnp.float32)

        y = external_attention(
            pointwise(channels, self.dtype, name="conv")(tokens),
            keys.astype(self.dtype),
            values.astype(self.dtype),
            mask=token_mask,
        )
        y = PointwiseBN(
            channels,
            bn_decay=self.bn_decay,
            axis_name=self.axis_name,
            dtype=self.dtype,
            name="out",
        )(y, train=train, mask=token_mask)
        return nn.relu(add(x, y.reshape(x.shape)))


def memory_keys_init(key: Array, shape: tuple[int, int], dtype: DTypeLike) -> Array:
    """N(0, √(2/S)), the init of a layer from C channels to S; (S, C)."""
    return he_normal_fan_out(key, shape[::-1], dtype).T


def external_attention(
    x: Array, keys: Array, values: Array, *, mask: Array | None = None
) -> Array:
    """`A M_v` with A the doubly normalised `x M_kᵀ`; see `ExternalAttention`.

    Args:
        x: tokens, (B, N, C).
        keys, values: M_k and M_v, (S, C).
        mask: (B, N), true where a token exists; the others weigh nothing and come
            back as zeros.

    Returns:
        (B, N, C), in the type of the tokens.

    Example:
        >>> x = jnp.zeros((1, 3, 2))
        >>> external_attention(x, jnp.eye(2), jnp.array([[1.0, 0.0], [3.0, 4.0]]))[0, 0]
        Array([2., 2.], dtype=float32)
    """
    where = None if mask is None else mask[..., None]
    attention = softmax(contract("bnc,sc->bns", x, keys), -2, where)
    attention /= EPSILON + jnp.sum(attention, axis=-1, keepdims=True)
    return contract("bns,sc->bnc", attention, values).astype(x.dtype)
