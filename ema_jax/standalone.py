"""A trained network as one function of bytes, for use without this library."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jax import Array

from ema_jax.canvas import canvas_shape
from ema_jax.fold import fold_batch_norm
from ema_jax.options import check_option
from ema_jax.preprocessing import Preprocessing
from ema_jax.segmenter import Segmenter, preprocessing_of

Output = Literal["masks", "logits"]


def standalone(
    model: Segmenter,
    variables: Mapping[str, Any],
    preprocessing: Preprocessing | None = None,
    *,
    output: Output = "masks",
) -> Callable[[Array], dict[str, Array]]:
    """All that the use of a network needs, from bytes to classes, in one function.

    It holds the weights, with batch normalisation folded into the convolutions. An
    image gets what `Predictor` gives it: it is normalised, and padded with zeros to a
    multiple of the output stride plus one.

    Args:
        model: the network.
        variables: {"params": …, "batch_stats": …} of it.
        preprocessing: that its weights expect; None: the network's own.
        output: what the function gives.

    Returns:
        A function of uint8 (B, H, W, C) that can be jitted and exported. It gives
        {"mask": uint8 (B, H, W), "confidence": float32 (B, H, W)}, the class of each
        pixel and its probability; or {"logits": float32 (B, H, W, num_classes)}.

    Raises:
        ValueError: another output.

    Example:
        >>> from ema_jax import MODELS
        >>> from ema_jax.segmenter import init_variables
        >>> model = MODELS["emanet_tiny"](num_classes=3)
        >>> def of_zeros(images):
        ...     variables = init_variables(model, seed=0)
        ...     return standalone(model, variables, output="logits")(images)
        >>> images = jax.ShapeDtypeStruct((2, 20, 30, 3), jnp.uint8)
        >>> jax.eval_shape(of_zeros, images)["logits"].shape
        (2, 20, 30, 3)
    """
    check_option("output", output, get_args(Output))
    stated = preprocessing or preprocessing_of(model)
    folded = jax.jit(partial(fold_batch_norm, model))(variables)
    stride = model.backbone.output_stride

    def logits(images: Array) -> Array:
        height, width = images.shape[1:3]
        rows, columns = canvas_shape((height, width), stride)
        margins = ((0, 0), (0, rows - height), (0, columns - width), (0, 0))
        normalized = stated.normalize(images, jnp.ones(images.shape[:3], bool))
        canvas = jnp.pad(normalized, margins)
        found: Any = model.apply(folded, canvas, train=False)
        return found[:, :height, :width]

    if output == "logits":
        return lambda images: {"logits": logits(images)}
    return lambda images: masks(logits(images))


def masks(logits: Array) -> dict[str, Array]:
    """The class of each pixel and its probability, of logits (B, H, W, num_classes).

    Example:
        >>> found = masks(jnp.array([0.0, jnp.log(3.0)]))
        >>> int(found["mask"]), f"{found['confidence']:.2f}"
        (1, '0.75')
    """
    return {
        "mask": jnp.argmax(logits, axis=-1).astype(jnp.uint8),
        "confidence": jnp.max(jax.nn.softmax(logits, axis=-1), axis=-1),
    }
