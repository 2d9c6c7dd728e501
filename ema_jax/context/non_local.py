"""The non-local block: every token attends to every other, O(N²)."""

from typing import Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from ema_jax.context.common import PointwiseBN, contract, to_tokens
from ema_jax.layers import add, hide, pointwise
from ema_jax.options import AxisName, check_features, check_option, check_positive

Mode = Literal["embedded_gaussian", "dot_product"]
Implementation = Literal["xla", "cudnn"]

gaussian_init = nn.initializers.normal(0.01)
"""N(0, 0.01), the init of the block in the published code."""


class NonLocal(nn.Module):
    """Non-local block.

    `y = x + BN(W · att(θx, φx, gx))`, with two kinds of attention over the N tokens:

        embedded_gaussian   softmax_m(s · θ_nᵀ φ_m) · g_m          O(N² D)
        dot_product         (s / N) Σ_m (θ_nᵀ φ_m) · g_m           O(N D²)

    The second has no softmax, so it is computed as θ_nᵀ (Σ_m φ_m g_mᵀ), the same sums
    in the cheaper order.

    Attributes:
        channels: D of θ, φ and g; half of the input's by default.
        mode: "embedded_gaussian" or "dot_product".
        scale: s. The paper has 1; 1/√D is that of transformers.
        zero_init: start at the identity, with a zero scale of BN.
        query_chunk: compute "embedded_gaussian" for this many tokens at a time, and
            again in the backward pass: memory O(query_chunk · N) in place of O(N²),
            the same values. None does all at once.
        implementation: of `jax.nn.dot_product_attention`. "cudnn" is the fused kernel
            for NVIDIA GPUs: in half precision, for D up to 128 (256 from Hopper on),
            and it fails where it cannot run. None is JAX's own choice, today "xla",
            which holds N² weights.
        bn_decay: share of the old running statistics that BN keeps.
        axis_name: mapped axis over which the batch is split, if any.
        dtype: compute type. Parameters, statistics and softmax are float32.

    Raises:
        ValueError: `channels` or `query_chunk` < 1, an unknown `mode` or
            `implementation`, an input of fewer than three axes, a mask whose shape is
            not that of the tokens.

    Example:
        >>> block = NonLocal(query_chunk=32)
        >>> x = jnp.ones((2, 9, 9, 16))
        >>> init = jax.jit(block.init_with_output, static_argnames="train")
        >>> y, variables = init(jax.random.key(0), x, train=False)
        >>> y.shape, variables["params"]["query"]["kernel"].shape
        ((2, 9, 9, 16), (16, 8))

    Reference:
        Wang et al., CVPR 2018, https://arxiv.org/abs/1711.07971.
    """

    channels: int | None = None
    mode: Mode = "embedded_gaussian"
    scale: float = 1.0
    zero_init: bool = True
    query_chunk: int | None = None
    implementation: Implementation | None = None
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
        self._check(x, mask)
        tokens, token_mask = to_tokens(x, mask)
        width = self.channels or max(1, x.shape[-1] // 2)
        query, key, value = (
            pointwise(width, self.dtype, kernel_init=gaussian_init, name=name)(tokens)
            for name in ("query", "key", "value")
        )
        if self.mode == "dot_product":
            y = linear_attention(query, key, value, scale=self.scale, mask=token_mask)
        else:
            y = softmax_attention(
                query,
                key,
                value,
                scale=self.scale,
                mask=token_mask,
                query_chunk=self.query_chunk,
                implementation=self.implementation,
            )
        y = PointwiseBN(
            x.shape[-1],
            zero_init=self.zero_init,
            bn_decay=self.bn_decay,
            axis_name=self.axis_name,
            dtype=self.dtype,
            kernel_init=gaussian_init,
            name="out",
        )(y, train=train, mask=token_mask)
        return add(x, y.reshape(x.shape))

    def _check(self, x: Array, mask: Array | None) -> None:
        check_features(x, mask)
        check_positive("channels", self.channels)
        check_positive("query_chunk", self.query_chunk)
        check_option("mode", self.mode, get_args(Mode))
        options = (None, *get_args(Implementation))
        check_option("implementation", self.implementation, options)


def linear_attention(
    query: Array, key: Array, value: Array, *, scale: float, mask: Array | None = None
) -> Array:
    """`(s / N) Σ_m (q_nᵀ k_m) v_m` over the N tokens that exist, summed over m first.

    Args:
        query, key, value: (B, N, D).
        scale: s.
        mask: (B, N), true where a token exists.

    Returns:
        (B, N, D), in the type of the value.
    """
    if mask is None:
        count = jnp.asarray(key.shape[1], jnp.float32)
    else:
        count = jnp.maximum(jnp.sum(mask, axis=-1, dtype=jnp.float32), 1)[:, None, None]
    summary = contract("bnd,bne->bde", hide(key, mask), hide(value, mask)) / count
    return (scale * contract("bnd,bde->bne", query, summary)).astype(value.dtype)


def softmax_attention(
    query: Array,
    key: Array,
    value: Array,
    *,
    scale: float,
    mask: Array | None = None,
    query_chunk: int | None = None,
    implementation: Implementation | None = None,
) -> Array:
    """`Σ_m softmax_m(s · q_nᵀ k_m) v_m` over the tokens that exist.

    Args:
        query, key, value: (B, N, D).
        scale: s.
        mask: (B, N), true where a token exists. Absent queries get some finite value.
        query_chunk, implementation: see `NonLocal`.

    Returns:
        (B, N, D), in the type of the value.
    """
    options: dict = {"scale": scale, "implementation": implementation}
    if mask is not None and implementation == "cudnn":
        key, value, options["key_value_seq_lengths"] = present_first(key, value, mask)
    elif mask is not None:
        options["mask"] = mask[:, None, None, :]
    key, value = key[:, :, None], value[:, :, None]  # one head

    def attend(query: Array) -> Array:
        with jax.numpy_dtype_promotion("standard"):  # which it takes for granted
            y = jax.nn.dot_product_attention(query[:, :, None], key, value, **options)
        return y[:, :, 0]

    batch, length, width = query.shape
    if query_chunk is None or query_chunk >= length:
        return attend(query)
    chunks = -(-length // query_chunk)
    padding = chunks * query_chunk - length
    query = jnp.pad(query, ((0, 0), (0, padding), (0, 0)))
    query = jnp.moveaxis(query.reshape(batch, chunks, query_chunk, width), 1, 0)
    y = lax.map(jax.checkpoint(attend), query)
    return jnp.moveaxis(y, 0, 1).reshape(batch, -1, width)[:, :length]


def present_first(key: Array, value: Array, mask: Array) -> tuple[Array, Array, Array]:
    """Keys and values with the tokens that exist in front, and how many there are.

    The fused kernel reads a mask of N² but a length of one number, and attention does
    not mind the order of its keys. An image without tokens counts one, of zeros.

    Args:
        key, value: (B, N, D).
        mask: (B, N).

    Returns:
        Both, (B, N, D), zeros behind; the lengths (B,), int32.

    Example:
        >>> k = jnp.array([[[1.0], [2.0], [3.0]]])
        >>> k, _, length = present_first(k, k, jnp.array([[False, True, True]]))
        >>> k[0, :, 0], length
        (Array([2., 3., 0.], dtype=float32), Array([2], dtype=int32))
    """
    order = jnp.argsort(~mask, axis=-1, stable=True)[..., None]
    key = jnp.take_along_axis(hide(key, mask), order, axis=1)
    value = jnp.take_along_axis(hide(value, mask), order, axis=1)
    lengths = jnp.sum(mask, axis=-1, dtype=jnp.int32)
    return key, value, jnp.maximum(lengths, 1)
