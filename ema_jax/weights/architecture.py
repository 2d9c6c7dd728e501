"""The network that variables belong to, read from their names and shapes."""

from collections.abc import Callable, Mapping
from functools import cache, partial
from statistics import mode
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from ema_jax.backbones import EfficientNetLite, ResNet
from ema_jax.backbones.efficientnet_lite import SCALINGS, scaled_groups
from ema_jax.networks import EMANet

Tree = Mapping[str, Any]


def model_options(variables: Tree) -> dict[str, Any]:
    """The options of `EMANet`, or of a backbone that is alone, that fit variables.

    What leaves no trace in the shapes is not among them: `output_stride`,
    `multi_grid`, `align_corners` and everything that concerns training.

    Args:
        variables: {"params": …, "batch_stats": …} of an `EMANet`, or with nothing but
            its backbone; the leaves need only a shape.

    Returns:
        Keyword arguments: `stage_sizes`, `stem`, `stem_width`, `width` of `ResNet`, or
        `version` of `EfficientNetLite`, and `in_channels`; with a head `num_classes`,
        `channels`, `hidden_channels`, `num_bases`, `concat_input`, `auxiliary_head`;
        with a decoder `decoder_channels` and `coarse_logits`; and, unless it is a
        `ResNet`, the class of the `backbone`.

    Raises:
        KeyError: a part that decides is missing.

    Example:
        >>> from ema_jax import MODELS
        >>> model = MODELS["emanet_r50"](num_classes=5)
        >>> init = partial(model.init, train=False)
        >>> image = jnp.zeros((1, 33, 33, 3))
        >>> variables = jax.eval_shape(init, jax.random.key(0), image)
        >>> options = model_options(variables)
        >>> options["stage_sizes"], options["stem"], options["num_classes"]
        ((3, 4, 6, 3), 'deep128', 5)
    """
    params, statistics = variables["params"], variables["batch_stats"]
    options = backbone_options(params["backbone"])
    if is_backbone(variables):
        return options
    kind, head = backbone_kind(params["backbone"]), params["head"]
    if kind is not ResNet:
        options["backbone"] = kind
    if "narrow" in head:
        options["decoder_channels"] = _outputs(head["narrow"])
        options["coarse_logits"] = "coarse_classifier" in head
    bases = {**head["context"], **statistics["head"]["context"]}["bases"]
    return options | {
        "num_classes": _outputs(head["classifier"]),
        "channels": _outputs(head["reduce"]),
        "hidden_channels": _outputs(head["expand"]),
        "num_bases": bases.shape[0],
        "concat_input": "fuse" in head,
        "auxiliary_head": "auxiliary_head" in params,
    }


def count_classes(variables: Tree) -> int:
    """Classes that the classifier of a network tells apart.

    Raises:
        ValueError: the variables are those of a backbone alone.
    """
    try:
        return variables["params"]["head"]["classifier"]["kernel"].shape[-1]
    except KeyError:
        raise ValueError("holds a backbone alone, without classes") from None


def is_backbone(variables: Tree) -> bool:
    """Whether variables hold nothing but a backbone."""
    return set(variables["params"]) == {"backbone"}


@cache
def expected_shapes(**options: Any) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Path to shape of every variable of the network with these `model_options`."""
    whole = "num_classes" in options
    alone = EfficientNetLite if "version" in options else ResNet
    make: Callable[..., nn.Module] = EMANet if whole else alone
    init = partial(make(**options).init, train=False)
    images = jnp.zeros((1, 33, 33, options["in_channels"]))
    shapes = jax.eval_shape(init, jax.random.key(0), images)
    if not whole:
        shapes = {kind: {"backbone": tree} for kind, tree in shapes.items()}
    return {path: leaf.shape for path, leaf in flatten_dict(shapes).items()}


def backbone_kind(backbone: Tree) -> type[nn.Module]:
    """The class of a backbone, by the names of its parameters."""
    return EfficientNetLite if "stem" in backbone else ResNet


def backbone_options(backbone: Tree) -> dict[str, Any]:
    """The options of a backbone that fit its parameters; see `model_options`.

    Raises:
        KeyError: a part that decides is missing.
    """
    if backbone_kind(backbone) is EfficientNetLite:
        return _lite_options(backbone)
    return _resnet_options(backbone)


def _lite_options(backbone: Tree) -> dict[str, Any]:
    versions = {
        sum(group.blocks for group in scaled_groups(version)): version
        for version in SCALINGS
    }
    return {
        "version": versions[sum(name.startswith("block") for name in backbone)],
        "in_channels": _inputs(backbone["stem"]),
    }


def _resnet_options(backbone: Tree) -> dict[str, Any]:
    stages = [name.partition("_")[0] for name in backbone if name.startswith("stage")]
    stem = [name for name in backbone if name.startswith("stem")]
    stem_width = _outputs(backbone[f"stem_conv{len(stem)}"])
    if len(stem) == 1:
        stem_options = {"stem": "conv7", "stem_width": stem_width}
    elif stem_width == 64:  # the same layers as "deep128" of width 32
        stem_options = {"stem": "deep64", "stem_width": stem_width}
    else:
        stem_options = {"stem": "deep128", "stem_width": stem_width // 2}
    return {
        "stage_sizes": tuple(stages.count(f"stage{stage}") for stage in (1, 2, 3, 4)),
        "width": _outputs(backbone["stage1_block1"]["conv2"]),
        **stem_options,
        "in_channels": _inputs(backbone["stem_conv1"]),
    }


def _inputs(layer: Tree) -> int:
    """Channels that a `ConvBN` takes."""
    return layer["conv"]["kernel"].shape[-2]


def _outputs(layer: Tree) -> int:
    """Output channels: the last axis of the kernel and of all that belongs to it."""
    return mode(leaf.shape[-1] for leaf in jax.tree.leaves(layer))
