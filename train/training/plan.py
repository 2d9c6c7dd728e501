"""What a config makes of its data: all of a training but what its workdir holds."""

from typing import NamedTuple

from ml_collections import ConfigDict

from ema_jax import EMAU, Segmenter
from ema_jax.classes import Classes
from ema_jax.networks import find_em_unit
from train.configuration.limits import check_limits
from train.devices.mesh import DeviceMesh
from train.devices.partition import (
    check_batch,
    check_evaluation,
    check_pooling,
    configured_mesh,
    crop_canvas,
)
from train.evaluation.choice import Merit, make_merit
from train.evaluation.validation import Validation
from train.model.build import build_model
from train.training.data import Data, look_through, open_data
from train.training.length import Length, training_length
from train.update.class_weights import class_weights
from train.update.configured import Updates, configured_updates


class Plan(NamedTuple):
    """Of a training.

    Attributes:
        mesh: devices of all of it.
        data: looked through.
        content: changes with the images and masks that it trains on.
        classes: of the data.
        length: in updates.
        canvas: height and width of the arrays that hold the crops.
        model: the network.
        updates: where they begin, and what each is.
        validation: the split that is evaluated, under the network.
        merit: by which states are compared.
    """

    mesh: DeviceMesh
    data: Data
    content: str
    classes: Classes
    length: Length
    canvas: tuple[int, int]
    model: Segmenter
    updates: Updates
    validation: Validation
    merit: Merit

    @property
    def unit(self) -> EMAU | None:
        """EM attention of the network, if it has any."""
        return find_em_unit(self.model)


def make_plan(config: ConfigDict) -> Plan:
    """Open the data, and look through them once the rest is known to do.

    Raises:
        UserError: a mistake in the config or in the data.
    """
    check_limits(config)
    mesh = configured_mesh(config)
    check_batch(config, mesh)
    data = open_data(config)
    classes = Classes(data.dataset.class_names, data.dataset.palette)
    model = build_model(config.model, len(classes), config.data.crop_size)
    check_pooling(config, model)
    check_evaluation(config.evaluation, model, mesh)
    canvas = crop_canvas(config, model, mesh)
    merit = make_merit(config.checkpoint.best, classes.names)
    validation = Validation(data.val, model, mesh, config.evaluation, watch=True)
    length = training_length(config, data.num_images[0])
    data, counted = look_through(data, config)
    weights = class_weights(config.loss.class_weights, counted.pixels, counted.extent)
    return Plan(
        mesh,
        data,
        counted.digest,
        classes,
        length,
        canvas,
        model,
        configured_updates(config, model, mesh, length.num_steps, weights),
        validation,
        merit,
    )
