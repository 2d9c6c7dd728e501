"""A network as it sees images: programs from bytes on a canvas to classes."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import NamedSharding, PartitionSpec

from ema_jax.canvas import split_rows
from ema_jax.preprocessing import Preprocessing
from ema_jax.resize import sizes_of
from ema_jax.segmenter import Segmenter, in_channels, preprocessing_of
from ema_jax.views import (
    LogitsFn,
    WatchedFn,
    at_scale,
    sliding_window,
    watched_image,
    whole_image,
)


class Inference:
    """Whole images of many sizes through a network, compiled once for each canvas.

    Each image gets what it gets alone, padded with zeros to a multiple of the output
    stride plus one. Its logits are the sum of those over scales and mirror images.

    All methods take `(variables, images, mask)`: uint8 (B, H, W, C) at the top left of
    a canvas, and (B, H, W), true on the images.

    Attributes:
        row_multiple: what must divide H.
        channels: of the images.

    Example:
        >>> from ema_jax import MODELS
        >>> model = MODELS["emanet_tiny"](num_classes=5)
        >>> inference = Inference(model, scales=(0.5, 1.0), flip=True)
        >>> images = jnp.zeros((1, 33, 33, 3), jnp.uint8)
        >>> mask = jnp.ones((1, 33, 33), bool)
        >>> shapes = jax.eval_shape(
        ...     lambda: model.init(jax.random.key(0), images / 255, train=False)
        ... )
        >>> jax.eval_shape(inference.labels, shapes, images, mask)
        ShapeDtypeStruct(shape=(1, 33, 33), dtype=uint8)
    """

    def __init__(
        self,
        model: Segmenter,
        preprocessing: Preprocessing | None = None,
        *,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        window: tuple[int, int] | None = None,
        sharding: NamedSharding | None = None,
        watch: bool = False,
    ):
        """Say how the network sees an image; nothing is compiled yet.

        Args:
            model: the network.
            preprocessing: that its weights expect; None: the network's own.
            scales: of the image; each compiles a program of its own.
            flip: add the logits of the mirror image.
            window: see the image through overlapping windows of this height and width.
            sharding: how (B, H, W) is split over devices: B, and H if need be.
            watch: `labels_cross_entropy_and_seen` says what EM attention did, at the
                price of a few sums; for images seen whole, once.

        Raises:
            ValueError: no scale, one that is not positive, a window whose sides are
                not `stride·k + 1`, or nothing to watch.
        """
        stride = model.backbone.output_stride
        _check_scales(scales)
        _check_window(window, stride)
        self.sharding = sharding
        self.channels = in_channels(model)
        self.row_multiple = split_rows(stride, _row_parts(sharding))
        self._preprocessing = preprocessing or preprocessing_of(model)
        self._count = len(scales) * (1 + flip)
        logits_fn = whole_image(model)
        if window is not None:
            logits_fn = sliding_window(logits_fn, window)

        def seen(scale: float) -> LogitsFn:
            if not flip and scale == 1:
                return logits_fn
            return at_scale(
                logits_fn, stride, scale, flip=flip, row_multiple=self.row_multiple
            )

        self._watched: Callable[..., tuple[Array, dict[str, Array]]] | None = None
        if watch:
            _check_watched(scales, flip, window)
            self._watched = self._compile(watched_image(model), watched=True)
        else:
            self._passes = [self._compile(seen(scale)) for scale in scales]
        whole = None if sharding is None else _over(sharding, sharding.spec[:1])
        self._label = jax.jit(_label, out_shardings=whole)
        self._confide = jax.jit(self._confidence, out_shardings=whole)
        self._share = jax.jit(self._probabilities, out_shardings=whole)
        self._surprise = jax.jit(self._cross_entropy, out_shardings=whole)

    def labels(self, variables: Any, images: Array, mask: Array) -> Array:
        """The class of each pixel, (B, H, W) uint8."""
        return self._label(*self._logits(variables, images, mask))

    def labels_and_confidence(
        self, variables: Any, images: Array, mask: Array
    ) -> tuple[Array, Array]:
        """The class of each pixel, and its probability, (B, H, W) float32."""
        logits = self._logits(variables, images, mask)
        return self._label(*logits), self._confide(*logits)

    def labels_and_cross_entropy(
        self, variables: Any, images: Array, mask: Array, truth: Array
    ) -> tuple[Array, Array]:
        """The class of each pixel, and the cross-entropy of each image, (B,) float32.

        That is the sum of `-log p[truth]` over the pixels whose truth, (B, H, W), is a
        class.
        """
        arguments = variables, images, mask, truth
        labels, cross_entropy, _ = self.labels_cross_entropy_and_seen(*arguments)
        return labels, cross_entropy

    def labels_cross_entropy_and_seen(
        self, variables: Any, images: Array, mask: Array, truth: Array
    ) -> tuple[Array, Array, dict[str, Array]]:
        """The same, and what `watch` asks for: `entropy` and `dead_bases`, (B,)."""
        logits, seen = self._logits_and_seen(variables, images, mask)
        return self._label(*logits), self._surprise(truth, *logits), seen

    def probabilities(self, variables: Any, images: Array, mask: Array) -> Array:
        """The probability of each class, (B, H, W, C): softmax of the mean logits."""
        return self._share(*self._logits(variables, images, mask))

    def _logits(self, *arguments: Any) -> list[Array]:
        """Logits at each scale, of both directions."""
        return self._logits_and_seen(*arguments)[0]

    def _logits_and_seen(self, *arguments: Any) -> tuple[list[Array], dict[str, Array]]:
        """The same, and what `watch` asks for."""
        if self._watched is None:
            return [logits(*arguments) for logits in self._passes], {}
        logits, seen = self._watched(*arguments)
        return [logits], seen

    def _compile(
        self, logits_fn: LogitsFn | WatchedFn, *, watched: bool = False
    ) -> Callable[..., Any]:
        """A program of variables, images as bytes, and their mask."""

        def logits(variables: Any, images: Array, mask: Array) -> Any:
            normalized = self._preprocessing.normalize(images, mask)
            return logits_fn(variables, normalized, sizes_of(mask))

        if self.sharding is None:
            return jax.jit(logits)
        everywhere, rows = _over(self.sharding, ()), self.sharding
        out = (rows, everywhere) if watched else rows
        return jax.jit(logits, in_shardings=(everywhere, rows, rows), out_shardings=out)

    def _confidence(self, *logits: Array) -> Array:
        return jnp.max(self._probabilities(*logits), axis=-1)

    def _cross_entropy(self, truth: Array, *logits: Array) -> Array:
        shares = jax.nn.log_softmax(sum(logits) / self._count, axis=-1)
        counts = truth < shares.shape[-1]
        true_class = jnp.where(counts, truth, 0).astype(jnp.int32)[..., None]
        true_share = jnp.take_along_axis(shares, true_class, axis=-1)[..., 0]
        return -jnp.sum(jnp.where(counts, true_share, 0), axis=(1, 2))

    def _probabilities(self, *logits: Array) -> Array:
        return jax.nn.softmax(sum(logits) / self._count, axis=-1)


def _label(*logits: Array) -> Array:
    return jnp.argmax(sum(logits), axis=-1).astype(jnp.uint8)


def _over(sharding: NamedSharding, axes: Sequence[Any]) -> NamedSharding:
    """The devices of a sharding, over some axes of an array."""
    return NamedSharding(sharding.mesh, PartitionSpec(*axes))


def _row_parts(sharding: NamedSharding | None) -> int:
    """Over how many devices the rows of an image are split."""
    if sharding is None or len(sharding.spec) < 2 or sharding.spec[1] is None:
        return 1
    return sharding.mesh.shape[sharding.spec[1]]


def _check_scales(scales: Sequence[float]) -> None:
    if not scales or not all(0 < scale < math.inf for scale in scales):
        raise ValueError(
            f"scales={scales!r}; give one or more positive numbers, such as (0.5, 1.0)"
        )


def _check_window(window: tuple[int, int] | None, stride: int) -> None:
    if window is not None and any((side - 1) % stride for side in window):
        raise ValueError(
            f"window={window} does not align with the output stride {stride}; give "
            f"sides of {stride}k+1, such as {(96 * stride + 1,) * 2}"
        )


def _check_watched(
    scales: Sequence[float], flip: bool, window: tuple[int, int] | None
) -> None:
    if tuple(scales) != (1,) or flip or window is not None:
        raise ValueError(
            f"watch=True with scales={scales}, flip={flip}, window={window}: EM is "
            "watched where it sees an image whole, once; leave them out"
        )
