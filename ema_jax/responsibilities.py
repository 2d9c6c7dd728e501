"""What each basis of a trained network explains of an image, iteration by iteration."""

from collections.abc import Mapping
from typing import Any, cast

import jax.numpy as jnp
from jax import Array

from ema_jax.emau import EMAU
from ema_jax.networks import em_unit
from ema_jax.resize import resize_bilinear, sizes_of
from ema_jax.segmenter import Segmenter
from ema_jax.views import align, extent


def responsibility_maps(
    model: Segmenter, variables: Mapping[str, Any], images: Array, mask: Array
) -> Array:
    """Responsibilities z_nk after each EM iteration of evaluation.

    Args:
        model: with EM attention.
        variables: of it.
        images: normalised, (B, H, W, 3) at the top left of a canvas.
        mask: (B, H, W), true on the images.

    Returns:
        (T, B, h, w, K), float32, a pixel for each `stride` of the image; with several
        heads their bases one after the other.

    Raises:
        ValueError: a network without EM attention.

    Example:
        >>> import jax
        >>> from ema_jax import MODELS
        >>> from ema_jax.segmenter import variable_shapes
        >>> model = MODELS["emanet_tiny"](num_classes=3)
        >>> variables = variable_shapes(model)
        >>> images, mask = jnp.zeros((1, 33, 49, 3)), jnp.ones((1, 33, 49), bool)
        >>> maps = lambda variables: responsibility_maps(model, variables, images, mask)
        >>> jax.eval_shape(maps, variables).shape
        (3, 1, 5, 7, 16)

    Reference:
        Li et al., ICCV 2019, https://arxiv.org/abs/1907.13426, figure 5.
    """
    unit = em_unit(model)
    stride = model.backbone.output_stride
    mask = extent(align(sizes_of(mask), stride), (mask.shape[1], mask.shape[2]))
    _, state = model.apply(
        variables,
        images,
        train=False,
        mask=mask,
        capture_intermediates=lambda module, _: module.name == "reduce",
        mutable=["intermediates"],
    )
    [features] = cast(Any, state)["intermediates"]["head"]["reduce"]["__call__"]
    own = {kind: tree["head"]["context"] for kind, tree in variables.items()}
    visible = mask[:, ::stride, ::stride]
    last = unit.num_iters if unit.eval_iters is None else unit.eval_iters
    return jnp.stack(
        [
            _maps(unit.clone(eval_iters=count), own, features, visible)
            for count in range(1, int(last) + 1)
        ]
    )


def _maps(unit: EMAU, variables: Mapping[str, Any], x: Array, mask: Array) -> Array:
    """(B, h, w, K) after the unit's iterations."""
    _, state = unit.apply(variables, x, mask, train=False, mutable=["intermediates"])
    [found] = cast(Any, state)["intermediates"]["responsibilities"]
    if unit.num_heads > 1:  # (B, heads, N, K)
        found = jnp.moveaxis(found, 1, -2)
    return found.reshape(*x.shape[:3], -1)


def at_image_size(maps: Array, size: tuple[int, int], stride: int) -> Array:
    """Maps (..., h, w, K) of one image at its own height and width, bilinear."""
    height, width = ((side - 1) * stride + 1 for side in maps.shape[-3:-1])
    return resize_bilinear(maps, (height, width))[..., : size[0], : size[1], :]
