"""How a config splits its images over the devices, and what does not divide."""

from ml_collections import ConfigDict

from ema_jax import Segmenter
from train.data.canvas import round_up
from train.errors import UserError
from train.mesh import Mesh, check_batch_size, make_mesh, row_multiple


def configured_mesh(config: ConfigDict) -> Mesh:
    """The mesh of `config.mesh`, which the config of an old checkpoint may lack."""
    return make_mesh(space=config.mesh.space if "mesh" in config else 1)


def check_batch(config: ConfigDict, mesh: Mesh) -> None:
    """Raise a UserError unless pieces, devices and groups divide the batch."""
    pieces, groups = config.optimizer.accumulation, config.optimizer.norm_groups
    check_batch_size(config.batch_size, mesh, "config.batch_size", pieces)
    images = config.batch_size // pieces
    if images % groups:
        raise UserError(
            f"config.optimizer.norm_groups={groups} does not divide the {images} "
            "images that are normalised together; give a divisor of them"
        )


def crop_canvas(config: ConfigDict, model: Segmenter, mesh: Mesh) -> tuple[int, int]:
    """Height and width of the arrays that hold the crops, whose rows devices divide.

    Raises:
        UserError: crops of another height than `stride·k + 1`, on a larger canvas.
    """
    height, width = config.data.crop_size
    stride = model.backbone.output_stride
    rows = round_up(height, row_multiple(stride, mesh))
    if rows != height and height % stride != 1:
        raise UserError(
            f"config.data.crop_size={(height, width)} cannot be split over "
            f"config.mesh.space={config.mesh.space} devices at output stride {stride}; "
            f"give a height of {stride}k+1, such as {height // stride * stride + 1}"
        )
    return rows, width
