"""The commands behind `main.py`, one function each."""

from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from etils import epath

from ema_jax.weights import Description
from train.configuration.config import load_config
from train.configuration.limits import check_limits
from train.data import data_options, open_dataset
from train.devices.mesh import make_mesh
from train.evaluation.metrics import table
from train.evaluation.predict import predict
from train.inspection.look import look
from train.model.convert import backbone_of, save_weights
from train.model.listing import list_weights
from train.model.pretrained import read_model
from train.training.loop import train
from train.user.errors import UserError
from train.user.folders import check_new
from train.workdir.restore import Trained, load_trained, load_weights

DEFAULT = str(Path(__file__).parents[1] / "configs/default.py")
"""The config whose other sections serve a file that says its network."""


def run_train(config: str, workdir: str, overrides: Sequence[str]) -> None:
    """Train, or go on with a training."""
    if "axes" in load_config(config):
        raise UserError(f"--config={config} is of an ablation: main.py ablate runs it")
    train(load_config(config, overrides), workdir)


def load(
    workdir: str | None,
    checkpoint: str,
    weights: str | None,
    config: str | None,
    overrides: Sequence[str],
) -> Trained:
    """The network of a workdir; or of a file of weights, which a config may explain."""
    if workdir is not None:
        if config is not None:
            raise UserError(
                f"--config={config} is for --weights; a workdir has its own, of which "
                "--config.FIELD=VALUE changes a field"
            )
        return load_trained(workdir, checkpoint, overrides)
    assert weights is not None
    if checkpoint != "best":
        raise UserError(f"--checkpoint={checkpoint} is for --workdir; a file has one")
    given = None if config is None else load_config(config)
    return load_weights(weights, given, overrides, DEFAULT)


def check_data_named(
    weights: str | None, config: str | None, overrides: Sequence[str]
) -> None:
    """Raise a UserError where nothing says on which data weights are evaluated."""
    named = any(override.startswith("--config.data.name") for override in overrides)
    if weights is not None and config is None and not named:
        raise UserError(
            f"--weights={weights} says its network, but not on which data to evaluate "
            "it; add --config.data.name=folder --config.data.root=…"
        )


def run_evaluate(trained: Trained, split: str | None, output: str | None) -> None:
    """Print the scores of a trained network; in a folder, those of each image."""
    data = trained.config.data
    split = split or data.val_split
    dataset = open_dataset(data.name, **data_options(trained.config))
    trained.check_classes(dataset)
    validation = trained.validation(dataset, split)
    if output is None:
        scores = validation.scores(trained.variables)
    else:
        from train.evaluation.details import write_details  # loads much

        scores = write_details(
            validation, trained.variables, output, dataset.image_names(split)
        )
    result = table(scores, dataset.class_names)
    if jax.process_index() == 0:
        print(f"{trained.source}, split {split}\n{result}")


def run_predict(
    trained: Trained,
    images: Sequence[str],
    output: str,
    confidence: bool,
    bases: str | None,
) -> None:
    """Write masks of images; a file that is not an image is reported at the end."""
    problems = predict(
        trained.predictor(),
        images,
        output,
        confidence=confidence,
        bases=bases,
        value_range=trained.value_range,
    )
    print(f"masks are in {output}")
    if problems:
        raise UserError("; ".join(problems))


def run_demo(options: Namespace, load: Callable[[], Trained]) -> None:
    """Serve a page on which a trained network can be tried."""
    from train.demo.command import demo  # loads much

    demo(load, options.host, options.port, options.examples, options.max_side)


def run_data(config: str, overrides: Sequence[str], output: str | None) -> None:
    """Print what the data of a config hold, and what is suspicious in them."""
    loaded = load_config(config, overrides)
    check_limits(loaded)
    data = loaded.data
    dataset = open_dataset(data.name, **data_options(loaded))
    print(look(dataset, data.train_split, data.val_split, output))


def run_convert(
    source: str, output: str, config: str | None, *, backbone: bool, half: bool
) -> None:
    """Write a workdir's best checkpoint, or any weights, as one safetensors."""
    check_new(output)
    trained = None
    if epath.Path(source).is_dir():
        trained = load_trained(source, mesh=make_mesh())
    elif config is not None:
        trained = load_weights(source, load_config(config), (), DEFAULT)
    if trained is None:
        description, variables = read_model(source)
    else:
        description, variables = trained.description, trained.variables
    if backbone:
        variables, description = backbone_of(variables), None
    print(save_weights(variables, output, description, half=half))


def run_export(options: Namespace) -> None:
    """Write a network as one file that is used without this library."""
    from train.export.command import export_network

    def load() -> tuple[Description, dict[str, Any]]:
        if epath.Path(options.source).is_dir():
            mesh = make_mesh()
            trained = load_trained(options.source, options.checkpoint, mesh=mesh)
        else:
            config = options.config and load_config(options.config)
            trained = load_weights(options.source, config, (), DEFAULT)
        return trained.description, trained.variables

    print(
        export_network(
            load,
            options.file,
            format=options.format,
            size=options.size,
            output=options.output,
        )
    )


def run_weights() -> None:
    """Print what weights are known by name, and which are on this machine."""
    print(list_weights())


def run_profile(options: Namespace) -> None:
    """Print what networks or context modules cost."""
    from train.profile.command import profile  # loads much

    profile(options)


def run_aot(options: Namespace, overrides: Sequence[str]) -> None:
    """Print what a training would need of TPUs that are not there."""
    from train.aot.command import aot  # loads much

    aot(options, overrides)


def run_ablate(config: str, workdir: str, overrides: Sequence[str], jobs: int) -> None:
    """Train and compare the runs of an ablation, or go on with it."""
    from train.ablation.command import ablate  # loads much

    jax.config.update("jax_platforms", "cpu")  # an accelerator is for the trainings
    ablate(config, workdir, overrides, jobs)
