"""The commands behind `main.py`, one function each."""

from argparse import Namespace
from collections.abc import Sequence

import jax
from etils import epath

from train.configuration.config import load_config
from train.data import open_dataset
from train.devices.mesh import make_mesh
from train.evaluation.metrics import table
from train.evaluation.predict import predict
from train.evaluation.validation import Validation
from train.model.convert import backbone_of, save_weights
from train.model.pretrained import read_weights
from train.training.loop import train
from train.user.errors import UserError
from train.workdir.restore import Trained, load_trained, load_weights


def run_train(config: str, workdir: str, overrides: Sequence[str]) -> None:
    """Train, or go on with a training."""
    train(load_config(config, overrides), workdir)


def load(
    workdir: str | None,
    checkpoint: str,
    weights: str | None,
    config: str | None,
    overrides: Sequence[str],
) -> Trained:
    """The network of a workdir, or of a file of weights and a config."""
    if workdir is not None:
        return load_trained(workdir, checkpoint, overrides)
    assert weights is not None
    if config is None:
        raise UserError(
            f"--weights={weights} does not say how the network is built; "
            "give --config too, such as configs/voc_r101.py"
        )
    return load_weights(load_config(config, overrides), weights)


def run_evaluate(trained: Trained, split: str | None) -> None:
    """Print the scores of a trained network."""
    config = trained.config.copy_and_resolve_references().unlock()
    if split is not None:
        config.data.val_split = split
    dataset = open_dataset(
        config.data.name, root=config.data.root, data_dir=config.data.data_dir
    )
    trained.check_classes(dataset)
    validation = Validation(config, dataset, trained.model, trained.mesh)
    result = table(validation.scores(trained.variables), dataset.class_names)
    if jax.process_index() == 0:
        print(f"{trained.source}, split {config.data.val_split}\n{result}")


def run_predict(
    trained: Trained,
    images: Sequence[str],
    output: str,
    confidence: bool,
    bases: str | None,
) -> None:
    """Write masks of images; a file that is not an image is reported at the end."""
    problems = predict(
        trained.predictor(), images, output, confidence=confidence, bases=bases
    )
    print(f"masks are in {output}")
    if problems:
        raise UserError("; ".join(problems))


def run_convert(source: str, output: str, backbone: bool) -> None:
    """Write foreign weights, or a workdir's best checkpoint, as safetensors."""
    if epath.Path(source).is_dir():
        variables = load_trained(source, mesh=make_mesh()).variables
    else:
        variables = read_weights(source)
    print(save_weights(backbone_of(variables) if backbone else variables, output))


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
