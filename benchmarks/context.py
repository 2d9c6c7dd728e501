"""What the context module of trained networks adds to their scores.

    python benchmarks/context.py runs/rivals/runs/*/seed0 [--config.FIELD=value …]

Each network is evaluated as it is, and with its module left out: what goes into it
comes out. Prints both mIoUs in percent, and how large the module's addition is,
‖y - x‖ / ‖x‖ over the features x of some val images, cut to the size of a crop.
"""

import argparse
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from ema_jax import Segmenter
from ema_jax.context import NoContext
from ema_jax.heads import ContextHead
from ema_jax.segmenter import preprocessing_of
from train.data import Dataset, data_options, open_dataset
from train.user.errors import UserError
from train.workdir.restore import Trained, load_trained

IMAGES = 8


def without_context(model: Segmenter) -> Segmenter:
    """The same network, whose context module does nothing."""
    if not isinstance(model.head, ContextHead):
        raise UserError(f"{type(model.head).__name__} has no context module")
    return model.clone(head=model.head.clone(context=NoContext()))


def addition(trained: Trained, images: list[np.ndarray]) -> float:
    """How large what the module adds is, beside what it is given."""

    @jax.jit
    def squares(image: jax.Array) -> tuple[jax.Array, jax.Array]:
        _, state = trained.model.apply(
            trained.variables,
            preprocessing_of(trained.model).normalize(
                image[None], jnp.ones((1, *image.shape[:2]), bool)
            ),
            train=False,
            capture_intermediates=lambda module, _: (
                module.name in ("reduce", "context")
            ),
            mutable="intermediates",
        )
        head = state["intermediates"]["head"]
        [x], [y] = (head[name]["__call__"] for name in ("reduce", "context"))
        return jnp.sum((y - x) ** 2), jnp.sum(x**2)

    added, given = zip(*(squares(image) for image in images), strict=True)
    return float(np.sqrt(np.sum(added) / np.sum(given)))


def scores(trained: Trained, model: Segmenter, dataset: Dataset) -> float:
    """Val mIoU of a model with the trained variables, in percent."""
    validation = trained.validation(dataset, trained.config.data.val_split, model)
    return 100 * validation.scores(trained.variables).mean_iou


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workdirs", nargs="+", help="of trained networks")
    print("| network | mIoU | without | ‖y - x‖ / ‖x‖ |\n|---|---:|---:|---:|")
    options, overrides = parser.parse_known_args()
    for workdir in options.workdirs:
        trained = load_trained(workdir, "last", overrides)
        data = trained.config.data
        dataset = open_dataset(data.name, **data_options(trained.config))
        try:
            plain = without_context(trained.model)
        except UserError as error:
            print(f"{workdir}: {error}", file=sys.stderr)
            continue
        whole, less = (scores(trained, m, dataset) for m in (trained.model, plain))
        source = dataset.source(data.val_split)
        height, width = data.crop_size
        first = range(min(IMAGES, len(source)))
        images = [source[i]["image"][:height, :width] for i in first]
        share = addition(trained, images)
        print(f"| {workdir} | {whole:.2f} | {less:.2f} | {share:.3f} |", flush=True)


if __name__ == "__main__":
    main()
