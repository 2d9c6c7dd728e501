"""The commands behind `main.py`, one function each."""

from collections.abc import Sequence

from train.config import load_config
from train.data import open_dataset
from train.errors import UserError
from train.loop import train
from train.metrics import table
from train.predict import predict
from train.restore import load_trained
from train.validation import Validation


def run_train(config: str, workdir: str, overrides: Sequence[str]) -> None:
    """Train, or go on with a training."""
    train(load_config(config, overrides), workdir)


def run_evaluate(
    workdir: str, checkpoint: str, split: str | None, overrides: Sequence[str]
) -> None:
    """Print the scores of a trained network."""
    trained = load_trained(workdir, checkpoint, overrides)
    config = trained.config.copy_and_resolve_references().unlock()
    if split is not None:
        config.data.val_split = split
    dataset = open_dataset(
        config.data.name, root=config.data.root, data_dir=config.data.data_dir
    )
    if dataset.class_names != trained.classes.names:
        raise UserError(
            f"{workdir} was trained on the {len(trained.classes.names)} classes "
            f"{', '.join(trained.classes.names)}; {config.data.name} has "
            f"{', '.join(dataset.class_names)}"
        )
    validation = Validation(config, dataset, trained.model, trained.mesh)
    print(f"{workdir}, step {trained.step}, split {config.data.val_split}")
    print(table(validation.scores(trained.variables), trained.classes.names))


def run_predict(
    workdir: str,
    checkpoint: str,
    images: Sequence[str],
    output: str,
    overrides: Sequence[str],
) -> None:
    """Write masks of images; a file that is not an image is reported at the end."""
    problems = predict(load_trained(workdir, checkpoint, overrides), images, output)
    print(f"masks are in {output}")
    if problems:
        raise UserError("; ".join(problems))
