"""How a config splits its images over the devices, and what does not divide."""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from ema_jax import Segmenter
from ema_jax.canvas import round_up, split_rows
from train.devices.mesh import DeviceMesh, check_batch_size, make_mesh
from train.user.errors import UserError


def configured_mesh(config: ConfigDict) -> DeviceMesh:
    """The mesh of `config.mesh`, which the config of an old checkpoint may lack."""
    return make_mesh(space=config.mesh.space if "mesh" in config else 1)


def check_batch(config: ConfigDict, mesh: DeviceMesh) -> None:
    """Raise a UserError unless pieces, devices and groups divide the batch."""
    pieces, groups = config.optimizer.accumulation, config.optimizer.norm_groups
    check_batch_size(config.batch_size, mesh, "config.batch_size", pieces)
    images = config.batch_size // pieces
    if images % groups:
        raise UserError(
            f"config.optimizer.norm_groups={groups} does not divide the {images} "
            "images that are normalised together; give a divisor of them"
        )
    if groups > 1 and config.model.renormalize_average:
        raise UserError(
            f"config.optimizer.norm_groups={groups} takes the mean of each group's "
            "bases, which config.model.renormalize_average=True cannot keep at length "
            "one; set one of them only"
        )


def check_evaluation(
    evaluation: ConfigDict, model: Segmenter, mesh: DeviceMesh
) -> None:
    """Raise a UserError unless devices divide the batch, the stride the canvases."""
    check_batch_size(evaluation.batch_size, mesh, "config.evaluation.batch_size")
    multiple, stride = evaluation.canvas_multiple, model.backbone.output_stride
    if multiple < 1 or multiple % stride:
        raise UserError(
            f"config.evaluation.canvas_multiple={multiple} is not a multiple of the "
            f"output stride, {stride}"
        )


def check_pooling(config: ConfigDict, model: Segmenter) -> None:
    """Raise a UserError where image pooling would normalise one value by itself.

    The branch of DeepLab's pyramid that sees the mean over the image has one value an
    image. Alone in its batch that has no variance: the running one goes to zero, and
    evaluation divides by it.
    """
    options = config.optimizer
    images = config.batch_size // options.accumulation // options.norm_groups
    if images < 2 and getattr(model.head, "image_pooling", False):
        raise UserError(
            f"config.model.name={config.model.name} normalises the means of the images "
            f"of a batch, and {images} is normalised at a time; raise "
            "config.batch_size, or set config.model.image_pooling=False"
        )


def crop_canvas(
    config: ConfigDict, model: Segmenter, mesh: DeviceMesh
) -> tuple[int, int]:
    """Height and width of the arrays that hold the crops, whose rows devices divide.

    Raises:
        UserError: crops to be split whose sides are not `stride·k + 1`.
    """
    height, width = config.data.crop_size
    stride = model.backbone.output_stride
    if mesh.shape["space"] > 1 and {height % stride, width % stride} != {1}:
        near = tuple(side // stride * stride + 1 for side in (height, width))
        raise UserError(
            f"config.data.crop_size={(height, width)} cannot be split over "
            f"config.mesh.space={config.mesh.space} devices at output stride {stride}; "
            f"give sides of {stride}k+1, such as {near}"
        )
    return round_up(height, split_rows(stride, mesh.shape["space"])), width


def abstract_batch(
    images: int, canvas: tuple[int, int], channels: int = 3
) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and types of what `load_batches` gives."""
    shape = (images, *canvas)
    return {
        "image": jax.ShapeDtypeStruct((*shape, channels), jnp.uint8),
        "label": jax.ShapeDtypeStruct(shape, jnp.uint8),
        "mask": jax.ShapeDtypeStruct(shape, jnp.bool_),
    }
