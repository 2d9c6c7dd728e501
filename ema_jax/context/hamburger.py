"""Hamburger: global context as the low-rank part of the features, found by NMF."""

from typing import Literal, NamedTuple, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from ema_jax.bases import moving_average
from ema_jax.components import normalize
from ema_jax.context.common import PointwiseBN, to_tokens
from ema_jax.em import softmax_over_bases
from ema_jax.layers import add, pointwise
from ema_jax.options import AxisName, check_features, check_option, check_positive
from ema_jax.prepare import prepare

BasesUpdate = Literal["random", "moving_average", "none"]

EPSILON = 1e-6


def bases_init(key: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """U(0, 1) per entry, then unit L2 norm over the channels; (..., K, D)."""
    return normalize(jax.random.uniform(key, shape, dtype), "l2")


class Hamburger(nn.Module):
    """Hamburger with non-negative matrix factorisation (NMF) between two layers.

    `y = ReLU(x + BN(W₂ NMF(ReLU(W₁ x + b₁))))`, where NMF replaces the tokens of an
    image by their approximation C D of rank K; see `nmf`. Cost O(N·K·D·T).

    The released code draws other bases D⁰ for every image of every call. So does
    "random" in training, from the stream "dropout"; at `train=False` it starts from
    bases that were drawn once, at init, so that an image gives the same output twice.
    They live in the collection `batch_stats`, as the bases of `EMAU` do.

    Attributes:
        channels: of the factorisation; the input's by default.
        num_bases: K.
        num_iters: T, updates in training before the one that is differentiated.
        eval_iters: the same when `train=False`.
        temperature: λ, the inverse temperature of the first coefficients.
        bases_update: where D⁰ comes from in training. "random": as above.
            "moving_average": the stored bases, which then follow those of the batch,
            `D⁰ ← ‖α D⁰ + (1-α) · mean over the batch of ‖D‖‖`, where ‖·‖ has unit
            norm over the channels. "none": the stored bases, which stay.
        bases_decay: α.
        bn_decay: share of the old running statistics that BN keeps.
        axis_name: mapped axis over which the batch is split, if any.
        dtype: compute type of the layers. NMF, parameters, statistics are float32.

    Raises:
        ValueError: `channels`, `num_bases`, `num_iters` or `eval_iters` < 1, an unknown
            `bases_update`, an input of fewer than three axes, a mask whose shape is
            not that of the tokens.

    Example:
        >>> unit = Hamburger(num_bases=4)
        >>> x = jnp.ones((2, 9, 9, 16))
        >>> init = jax.jit(unit.init, static_argnames="train")
        >>> variables = init(jax.random.key(0), x, train=False)
        >>> y, updates = unit.apply(variables, x, train=True, mutable=["batch_stats"],
        ...                         rngs={"dropout": jax.random.key(1)})
        >>> y.shape, updates["batch_stats"]["bases"].shape
        ((2, 9, 9, 16), (4, 16))

    Reference:
        Geng et al., "Is Attention Better Than Matrix Decomposition?", ICLR 2021,
        https://arxiv.org/abs/2109.04553.
    """

    channels: int | None = None
    num_bases: int = 64
    num_iters: int = 6
    eval_iters: int = 7
    temperature: float = 1.0
    bases_update: BasesUpdate = "random"
    bases_decay: float = 0.9
    bn_decay: float = 0.9997
    axis_name: AxisName | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool, mask: Array | None = None) -> Array:
        """Features (B, *spatial, C) to the same shape.

        Args:
            x: features; `spatial` is any number of axes, (B, N, C) tokens included.
            train: normalise with the statistics of the batch, draw or update D⁰.
            mask: (B, *spatial), true where a token exists.
        """
        self._check(x, mask)
        tokens, token_mask = to_tokens(x, mask)
        width = self.channels or x.shape[-1]
        bases = self.variable(
            "batch_stats",
            "bases",
            lambda: bases_init(
                self.make_rng("params"), (self.num_bases, width), jnp.float32
            ),
        )
        tokens = nn.relu(pointwise(width, self.dtype, name="lower")(tokens))
        factors = nmf(
            tokens,
            self._initial_bases(bases.value, x.shape[0], train=train),
            num_iters=self.num_iters if train else self.eval_iters,
            temperature=self.temperature,
            mask=token_mask,
        )
        updating = train and self.bases_update == "moving_average"
        if updating and not self.is_initializing():
            bases.value = self._moving_average(bases.value, factors.bases, token_mask)

        y = PointwiseBN(
            x.shape[-1],
            bn_decay=self.bn_decay,
            axis_name=self.axis_name,
            dtype=self.dtype,
            name="upper",
        )(factors.features, train=train, mask=token_mask)
        return nn.relu(add(x, y.reshape(x.shape)))

    def _initial_bases(self, stored: Array, batch: int, *, train: bool) -> Array:
        """D⁰: (K, D), or (B, K, D) where every image has its own."""
        if self.bases_update != "random" or not train or self.is_initializing():
            return stored
        key = self.make_rng("dropout")
        return bases_init(key, (batch, *stored.shape), stored.dtype)

    def _moving_average(self, old: Array, bases: Array, mask: Array | None) -> Array:
        """D⁰ after the batch whose images ended with `bases` (B, K, D).

        Images without a single token have no bases and are left out.
        """
        return moving_average(
            old,
            normalize(bases, "l2"),
            decay=self.bases_decay,
            counted=None if mask is None else jnp.any(mask, axis=-1),
            renormalize_average=True,
            axis_name=self.axis_name,
        )

    def _check(self, x: Array, mask: Array | None) -> None:
        check_features(x, mask)
        for name in ("channels", "num_bases", "num_iters", "eval_iters"):
            check_positive(name, getattr(self, name))
        check_option("bases_update", self.bases_update, get_args(BasesUpdate))


class Factors(NamedTuple):
    """What `nmf` returns.

    Attributes:
        features: C D, (B, N, D), in the type of the input.
        bases: D, (B, K, D), float32 or wider.
        coefficients: C, (B, N, K), float32 or wider.
    """

    features: Array
    bases: Array
    coefficients: Array


def nmf(
    x: Array,
    bases: Array,
    *,
    num_iters: int,
    temperature: float = 1.0,
    mask: Array | None = None,
) -> Factors:
    """Non-negative factors `X ≈ C D` by Lee and Seung's multiplicative updates.

        C ← softmax_k(λ · X Dᵀ)
        T times:   C ← C ⊙ X Dᵀ / (ε + C D Dᵀ);   D ← D ⊙ Cᵀ X / (ε + Cᵀ C D)
        once more: C ← C ⊙ X Dᵀ / (ε + C D Dᵀ)

    The gradient sees the last line only, and in it X only: the one-step gradient.

    Args:
        x: non-negative tokens X, (B, N, D).
        bases: non-negative D⁰, (K, D) or (B, K, D).
        num_iters: T.
        temperature: λ.
        mask: (B, N), true where a token exists; the others weigh nothing and come
            back as zeros.

    Returns:
        `Factors(features, bases, coefficients)`.

    Example:
        >>> x = jnp.outer(jnp.array([1.0, 2.0, 3.0]), jnp.array([1.0, 0.5]))[None]
        >>> factors = nmf(x, jnp.ones((1, 2)), num_iters=6)  # of rank one indeed
        >>> bool(jnp.allclose(factors.features, x, atol=1e-4))
        True
    """
    tokens, bases = prepare(x, lax.stop_gradient(bases), mask)
    early = lax.stop_gradient(tokens)
    logits = temperature * jnp.einsum("bnd,bkd->bnk", early, bases)
    coefficients = softmax_over_bases(logits)

    def update(_: int, factors: tuple[Array, Array]) -> tuple[Array, Array]:
        bases, coefficients = factors
        coefficients = update_coefficients(early, bases, coefficients)
        return update_bases(early, bases, coefficients), coefficients

    # Absent tokens are zero, and so are their coefficients from the first update on.
    bases, coefficients = lax.fori_loop(0, num_iters, update, (bases, coefficients))
    coefficients = update_coefficients(tokens, bases, coefficients)
    features = jnp.einsum("bnk,bkd->bnd", coefficients, bases)
    return Factors(features.astype(x.dtype), bases, coefficients)


def update_coefficients(x: Array, bases: Array, coefficients: Array) -> Array:
    """`C ⊙ X Dᵀ / (ε + C D Dᵀ)`."""
    numerator = jnp.einsum("bnd,bkd->bnk", x, bases)
    gram = jnp.einsum("bkd,bjd->bkj", bases, bases)
    return coefficients * numerator / (EPSILON + coefficients @ gram)


def update_bases(x: Array, bases: Array, coefficients: Array) -> Array:
    """`D ⊙ Cᵀ X / (ε + Cᵀ C D)`."""
    numerator = jnp.einsum("bnk,bnd->bkd", coefficients, x)
    gram = jnp.einsum("bnk,bnj->bkj", coefficients, coefficients)
    return bases * numerator / (EPSILON + gram @ bases)
