"""A trained network, as a workdir holds it."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from textwrap import shorten
from typing import Any

from etils import epath
from ml_collections import ConfigDict

from ema_jax import Predictor, Segmenter
from ema_jax.classes import Classes, voc_palette
from ema_jax.models import Network
from ema_jax.segmenter import preprocessing_of, variable_shapes
from ema_jax.weights import Description, check_shapes, count_classes
from train.configuration.config import apply_override, load_config
from train.configuration.limits import check_limits
from train.data import Dataset
from train.data.corrupt import evaluated_split
from train.devices.mesh import DeviceMesh
from train.devices.partition import check_evaluation, configured_mesh
from train.evaluation.validation import Validation
from train.model.build import build_model, named_network
from train.model.pretrained import place_weights, read_model
from train.update.optimizer import make_optimizer
from train.update.state import abstract_state
from train.user.errors import UserError
from train.workdir.checkpoint import Checkpoints


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network, what it was trained with, and where it is from."""

    description: Description
    variables: dict[str, Any]
    config: ConfigDict
    mesh: DeviceMesh
    source: str

    @cached_property
    def model(self) -> Segmenter:
        """The network itself."""
        return self.description.network.build()

    @property
    def classes(self) -> Classes:
        """That it tells apart."""
        return self.description.classes

    def check_classes(self, dataset: Dataset) -> None:
        """Raise a UserError unless the classes are those of a data set.

        A file of weights does not name its classes: their number must do.
        """
        names = self.classes.names
        if not names and len(self.classes.palette) == dataset.num_classes:
            return
        if names != dataset.class_names:
            described = ", ".join(names) or "without names"
            raise UserError(
                f"{self.source} tells {len(self.classes.palette)} classes apart "
                f"({described}); {dataset.name} has {dataset.num_classes} "
                f"({', '.join(dataset.class_names)})"
            )

    def validation(
        self, dataset: Dataset, split: str, model: Segmenter | None = None
    ) -> Validation:
        """A split of a data set under the network, or under another in its place."""
        model, evaluation = model or self.model, self.config.evaluation
        check_evaluation(evaluation, model, self.mesh)
        data = self.config.data  # which may be older than a field
        tolerance = data.get("corrupt", "stop"), data.get("max_corrupt", 0)
        images = evaluated_split(dataset, split, *tolerance)
        preprocessing = self.description.preprocessing
        return Validation(images, model, self.mesh, evaluation, preprocessing)

    @property
    def value_range(self) -> tuple[float, float] | None:
        """Black and white of images of more than 8 bits, where that is known."""
        known = self.description.preprocessing or preprocessing_of(self.model)
        return self.config.data.get("value_range") or known.value_range

    def predictor(self, num_iters: int | None = None) -> Predictor:
        """The network that takes pictures, a picture for each device at a time.

        Args:
            num_iters: EM iterations; None: the network's own.
        """
        evaluation = self.config.evaluation
        try:
            return Predictor(
                self.model,
                self.variables,
                self.classes,
                self.description.preprocessing,
                scales=evaluation.scales,
                flip=evaluation.flip,
                window=evaluation.window,
                num_iters=num_iters,
                batch_size=self.mesh.shape["data"],
                canvas_multiple=evaluation.canvas_multiple,
                sharding=self.mesh.batch,
            )
        except ValueError as error:
            raise UserError(f"config.evaluation.{error}") from error


def load_trained(
    workdir: str,
    which: str = "best",
    overrides: Sequence[str] = (),
    mesh: DeviceMesh | None = None,
) -> Trained:
    """The network of a workdir's checkpoint: "best", "last" or a step.

    Args:
        workdir: of the training.
        which: checkpoint.
        overrides: `--config.section.field=value` each, of the config it was made with.
        mesh: to place it on; None: that of the config.

    Raises:
        UserError: no such workdir or checkpoint, or a mistake in an override.
    """
    folder = epath.Path(workdir)
    if not folder.is_dir():
        if folder.exists():
            raise UserError(f"--workdir={workdir} is a file; give weights as --weights")
        raise UserError(f"--workdir={workdir} does not exist; train first")
    if not (folder / "checkpoints").is_dir():
        raise UserError(f"--workdir={workdir} has no checkpoint; train first")
    checkpoints = Checkpoints(workdir, read_only=True)
    try:
        step = checkpoints.find(which)
        saved_config, described = checkpoints.describe(step)
        config = _overridden(saved_config, overrides)
        classes = Classes.from_json(described)
        crop_size, num_steps = saved_config.data.crop_size, saved_config.num_steps
        model = build_model(saved_config.model, len(classes), crop_size)
        optimizer = make_optimizer(saved_config.optimizer, num_steps, model)
        mesh = mesh or configured_mesh(config)
        state, _ = checkpoints.restore(step, abstract_state(model, optimizer, mesh))
    finally:
        checkpoints.close()
    source = f"{workdir}, step {step}"
    network = named_network(config.model, len(classes), config.data.crop_size)
    preprocessing = preprocessing_of(model)
    if stated := described.get("value_range"):
        preprocessing = dataclasses.replace(preprocessing, value_range=tuple(stated))
    description = Description(network, classes, preprocessing)
    trained = Trained(description, state.variables, config, mesh, source)
    try:
        check_shapes(state.variables, variable_shapes(trained.model))
    except ValueError as error:
        reason = shorten(str(error), 300)
        raise UserError(f"{source}: config.model does not fit: {reason}") from error
    return trained


def _overridden(config: ConfigDict, overrides: Sequence[str]) -> ConfigDict:
    """A checkpoint's config with overrides, once their values are known to do."""
    if not overrides:
        return config
    config = config.copy_and_resolve_references().unlock()
    for override in overrides:
        apply_override(config, override)
    check_limits(config.lock(), complete=False)  # it may be older than a field
    return config


def load_weights(
    path: str, config: ConfigDict | None, overrides: Sequence[str], default: str
) -> Trained:
    """The network of a file of weights.

    Args:
        path: of the file.
        config: that the weights fit; None where the file says its network.
        overrides: `--config.section.field=value` each.
        default: path of the config whose other sections are used then.

    Raises:
        UserError: a file that cannot be read, that does not say its network, or that
            holds another one than the config.
    """

    def usable(config: ConfigDict) -> ConfigDict:
        config = _overridden(config, overrides)
        check_limits(config)
        return config

    given = config is not None
    if config is not None:  # a mistake in it is said before the file is read
        config = usable(config)
    if epath.Path(path).is_dir():
        raise UserError(f"--weights={path} is a folder; give a workdir as --workdir")
    # Whether they must be finite is known when the config is.
    description, variables = read_model(path, "--weights=", allow_non_finite=True)
    if config is None:
        if description is None:
            raise UserError(
                f"--weights={path} does not say how the network is built; "
                "give --config too, such as configs/voc.py"
            )
        config = usable(described_config(load_config(default), description.network))
    try:
        num_classes = count_classes(variables)
    except ValueError as error:
        raise UserError(
            f"--weights={path} holds a backbone alone; train with "
            f"--config.model.pretrained={path}"
        ) from error
    network = named_network(config.model, num_classes, config.data.crop_size)
    mesh = configured_mesh(config)
    allowed = config.model.allow_non_finite
    try:
        placed = place_weights(
            variables, network.build(), mesh, path, allow_non_finite=allowed
        )
    except UserError as error:
        if not given or description is None or description.network == network:
            raise
        message = f"{error}; the file says its network: leave --config out"
        raise UserError(message) from error
    if description is None:
        classes = Classes((), voc_palette(num_classes))
        preprocessing = preprocessing_of(network.build())
        description = Description(network, classes, preprocessing)
    return Trained(description._replace(network=network), placed, config, mesh, path)


def described_config(config: ConfigDict, network: Network) -> ConfigDict:
    """A config with another network."""
    config = config.copy_and_resolve_references().unlock()
    config.model.update({"name": network.name, **network.options})
    return config.lock()
