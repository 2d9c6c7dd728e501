"""Losses over pixels, some of which carry no label, alone or summed.

Each is a sum over the images of a batch, divided by a number that its labels decide: so
it is the same for any number of devices, and of pieces in which the batch is taken.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from train.data.access import IGNORE_LABEL
from train.update.likelihood import CLASSES, is_class, negative_log
from train.update.ohem import hard_pixels

PixelMean = Literal["all", "valid"]
PIXELS = (1, 3)
"""Their axes, in (B, H, C, W)."""


class Pixels(NamedTuple):
    """The pixels of a batch.

    Attributes:
        logits: (B, H, C, W) float32.
        classes: (B, H, W) int32, zero where nothing is labelled.
        valid: (B, H, W), where something is.
        counted: (B, H, W), those of them that pixel losses take: the hard ones.
        weights: (C,) float32, of the classes; None: 1.
    """

    logits: Array
    classes: Array
    valid: Array
    counted: Array
    weights: Array | None


class Options(NamedTuple):
    """Of single losses."""

    label_smoothing: float
    gamma: float


def cross_entropy(pixels: Pixels, options: Options) -> Array:
    """`Σ w_y · -log p_y`; smoothed by ε, `Σ_c w_c (ε/C + [c=y] (1-ε)) · -log p_c`.

    As `torch.nn.functional.cross_entropy` with `weight` and `label_smoothing`.
    """
    loss, smoothing = _weigh(_negative_log(pixels), pixels), options.label_smoothing
    if smoothing > 0:
        logs = jax.nn.log_softmax(_labelled(pixels), CLASSES)
        weights = 1 if pixels.weights is None else pixels.weights[:, None]
        every = -jnp.mean(logs * weights, CLASSES)
        loss = (1 - smoothing) * loss + smoothing * every
    return jnp.sum(loss, where=pixels.counted)


def focal(pixels: Pixels, options: Options) -> Array:
    """`Σ w_y · (1 - p_y)^γ · -log p_y`.

    Reference: Lin et al., Focal Loss for Dense Object Detection, ICCV 2017.
    """
    loss = _negative_log(pixels)
    missing = jnp.maximum(-jnp.expm1(-loss), 1e-8)  # 1 - p, of which 0 has no power
    loss = _weigh(missing**options.gamma * loss, pixels)
    return jnp.sum(loss, where=pixels.counted)


def dice(pixels: Pixels, options: Options) -> Array:
    """`Σ_bc 1 - 2 Σ_n p·t / Σ_n (p + t)` of the classes c that an image b holds.

    Reference: Milletari et al., V-Net, 3DV 2016, without its squares.
    """
    del options
    truth = _truth(pixels)
    share = jax.nn.softmax(_labelled(pixels), CLASSES) * pixels.valid[:, :, None]
    size = jnp.sum(share + truth, PIXELS)
    overlap = jnp.sum(share * truth, PIXELS)
    present = jnp.any(truth, PIXELS)
    return jnp.sum(1 - 2 * overlap / jnp.where(present, size, 1), where=present)


def lovasz(pixels: Pixels, options: Options) -> Array:
    """The Lovász extension of `Σ_bc 1 - IoU_bc` of the classes c that an image b holds.

    Reference: Berman et al., The Lovász-Softmax loss, CVPR 2018.
    """
    del options
    truth = _truth(pixels)
    share = jax.nn.softmax(_labelled(pixels), CLASSES)
    # an ignored pixel has the least error: behind all others nothing is left to lose
    error = jnp.where(pixels.valid[:, :, None], jnp.abs(truth - share), -1.0)

    def of_class(inputs: tuple[Array, Array]) -> Array:
        return jax.vmap(lovasz_extension)(*inputs)

    def by_class(x: Array) -> Array:
        first = jnp.moveaxis(x, CLASSES, 0)
        return first.reshape(*first.shape[:2], -1)

    losses = lax.map(of_class, (by_class(error), by_class(truth)))
    return jnp.sum(losses, where=jnp.any(truth, PIXELS).T)


def lovasz_extension(error: Array, truth: Array) -> Array:
    """Of `1 - IoU` as a set function of the wrong pixels, at errors (N,).

    Example:
        >>> error = jnp.array([1.0, 0.0, 1.0, 0.0])
        >>> float(lovasz_extension(error, jnp.array([True, True, False, False])))
        0.6666666269302368
    """
    order = jnp.argsort(-lax.stop_gradient(error))
    hit = jnp.cumsum(truth[order])
    union = hit[-1] + jnp.arange(1, len(hit) + 1) - hit
    loss = 1 - (hit[-1] - hit) / union
    return jnp.sum(error[order] * jnp.diff(loss, prepend=0.0))


LOSSES: dict[str, Callable[[Pixels, Options], Array]] = {
    "cross_entropy": cross_entropy,
    "focal": focal,
    "dice": dice,
    "lovasz": lovasz,
}
"""Name in `config.loss` to its sum over a batch."""
OF_REGIONS = ("dice", "lovasz")
"""Those whose mean is over images and the classes in them, not over pixels."""


def segmentation_loss(
    logits: Array,
    labels: Array,
    *,
    terms: Mapping[str, float] | None = None,
    whole: Array | None = None,
    canvas: Array | None = None,
    pixel_mean: PixelMean = "all",
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    gamma: float = 2.0,
    ohem_threshold: float | None = None,
    ohem_min_kept: int = 0,
) -> Array:
    """Mean of losses over a batch, in sum; pixels labelled 255 count nothing.

    Those of pixels, for "all", as the released code: `mean_b (1/HW) Σ_n ce_bn`, where
    ignored pixels add zero but are counted. "valid": `Σ_bn ce_bn / Σ_bn w`, over valid
    pixels and the weights of their classes. Those of regions: the mean over all classes
    of all images that hold them.

    With a threshold, online hard example mining: only `hard_pixels` are valid.

    Args:
        logits: (B, H, W, num_classes).
        labels: (B, H, W), integers.
        terms: weights of the `LOSSES` to sum; None: cross-entropy.
        whole: (pB, H, W), labels of the batch of which this is one of p pieces; the
            mean over them is that of the batch. None: this is all of it.
        canvas: (B, H, W), false where no image lies and no label is; None: images
            fill the batch.
        pixel_mean: "all" or "valid".
        class_weights: one per class, for the losses of pixels; None: 1.
        label_smoothing: of cross-entropy, 0 to 1.
        gamma: of the focal loss, 0 or more.
        ohem_threshold: None, or the probability of its class below which a pixel is
            hard.
        ohem_min_kept: at least so many pixels of the batch, or the piece, are hard.

    Returns:
        A float32 scalar; zero when no pixel is valid.

    Example:
        >>> logits = jnp.zeros((1, 1, 2, 4))
        >>> labels = jnp.array([[[3, 255]]])
        >>> float(segmentation_loss(logits, labels)) / jnp.log(4)
        Array(0.5, dtype=float32, weak_type=True)
        >>> float(segmentation_loss(logits, labels, pixel_mean="valid")) / jnp.log(4)
        Array(1., dtype=float32, weak_type=True)
        >>> float(segmentation_loss(logits, labels, terms={"dice": 1.0}))
        0.6000000238418579
    """
    terms = {"cross_entropy": 1.0} if terms is None else terms
    weights = None if class_weights is None else jnp.asarray(class_weights)
    pixels = see_pixels(logits, labels, weights)
    if ohem_threshold is not None:
        loss = _negative_log(pixels)
        hard = hard_pixels(loss, pixels.valid, ohem_threshold, ohem_min_kept)
        pixels = pixels._replace(counted=hard)
    batch = pixels
    if whole is not None and ohem_threshold is None:
        batch = see_pixels(jnp.zeros((*whole.shape, logits.shape[-1])), whole, weights)
    share = len(labels) / len(batch.valid)
    options = Options(label_smoothing, gamma)
    total = jnp.float32(0)
    for name, weight in terms.items():
        if name in OF_REGIONS:
            count = share * jnp.sum(jnp.any(_truth(batch), PIXELS))
        elif pixel_mean == "valid":
            ones = jnp.ones(batch.valid.shape)
            count = share * jnp.sum(_weigh(ones, batch), where=batch.counted)
        else:
            count = jnp.asarray(labels.size) if canvas is None else jnp.sum(canvas)
        loss = LOSSES[name](pixels, options)
        total += weight * loss / jnp.where(count > 0, count, 1)
    return total


def see_pixels(logits: Array, labels: Array, weights: Array | None) -> Pixels:
    """What the losses take of a batch."""
    valid = labels != IGNORE_LABEL
    classes = jnp.where(valid, labels, 0).astype(jnp.int32)
    logits = logits.astype(jnp.float32).swapaxes(-1, CLASSES)
    return Pixels(logits, classes, valid, valid, weights)


def _negative_log(pixels: Pixels) -> Array:
    """`-log p_y` (B, H, W), zero where nothing is labelled."""
    return negative_log(pixels.logits, pixels.classes, pixels.valid)


def _labelled(pixels: Pixels) -> Array:
    """The logits, zero where nothing is labelled: they may even be infinite there."""
    return jnp.where(pixels.valid[:, :, None], pixels.logits, 0)


def _truth(pixels: Pixels) -> Array:
    """Bool (B, H, C, W): the class of each pixel, where something is labelled."""
    own = is_class(pixels.classes, pixels.logits.shape[CLASSES])
    return own & pixels.valid[:, :, None]


def _weigh(loss: Array, pixels: Pixels) -> Array:
    """Each pixel's loss (B, H, W) by the weight of its class."""
    return loss if pixels.weights is None else loss * pixels.weights[pixels.classes]
