"""The batches of a training, augmented."""

from collections.abc import Iterator

import jax
import numpy as np
from ml_collections import ConfigDict

from train.data.access import Batch, RandomAccess
from train.data.augment import augment
from train.data.jitter import jitter
from train.data.pipeline import train_batches
from train.data.users import Augment


def load_batches(
    config: ConfigDict,
    source: RandomAccess,
    first_batch: int,
    canvas: tuple[int, int],
    own: Augment,
) -> Iterator[Batch]:
    """Augmented training batches of this process, from `first_batch` on.

    Crops lie at the top left of arrays of the height and width of `canvas`. `own` comes
    before all other augmentation.
    """
    options = config.data

    def prepare(example: dict, rng: np.random.Generator) -> Batch:
        image, label = own(example["image"], example["label"], rng)
        image = jitter(image, rng, options.color_jitter)
        image, label, mask = augment(
            image,
            label,
            rng,
            scales=options.scales,
            crop_size=options.crop_size,
            flip=options.flip,
            canvas=canvas,
        )
        return {"image": image, "label": label, "mask": mask}

    return train_batches(
        source,
        prepare,
        global_batch=config.batch_size,
        seed=config.seed,
        first_batch=first_batch,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        num_threads=options.num_threads,
        prefetch=options.prefetch,
    )
