"""Training batches from photographs, against a DataLoader with the same augmentation.

    python benchmarks/pipeline.py --root FOLDER [--batches 20]

The folder is one that `configs/folder.py` takes, with images/train/ and labels/train/.
Ours are four threads over records, theirs two workers over the files as they lie; both
scale, crop to 513² and mirror by the same functions, into batches of sixteen. Prints
images in a second, of rounds taken in turn. Run it with nothing else on the cores.
"""

import argparse
import gc
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from configs import folder
from train.data import data_options, open_dataset
from train.data.augment import augment
from train.data.users import load_augment
from train.training.batches import load_batches

gc.freeze()  # as `main.py` does, here and in the workers

ROUNDS, SIZE, BATCH = 5, (513, 513), 16
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)


class Photographs(torch.utils.data.Dataset):
    """Image and mask files of a split, read as they are asked for."""

    def __init__(self, root: Path, split: str):
        labels = root / "labels" / split
        images = sorted((root / "images" / split).iterdir())
        self.files = [(image, labels / f"{image.stem}.png") for image in images]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        image, label = self.files[index]
        pixels = cv2.cvtColor(cv2.imread(str(image)), cv2.COLOR_BGR2RGB)
        classes = np.asarray(Image.open(label))  # OpenCV makes colours of a palette
        rng = np.random.default_rng(torch.randint(2**31, ()).item())
        return augment(pixels, classes, rng, scales=SCALES, crop_size=SIZE, flip=True)


def ours(root: Path, records: str) -> Iterator[Any]:
    """Batches as a training gets them."""
    config = folder.get_config()
    config.data.root, config.data.data_dir = str(root), records
    config.data.crop_size, config.data.scales = SIZE, SCALES
    config.data.num_threads, config.batch_size = 4, BATCH
    dataset = open_dataset(config.data.name, **data_options(config))
    own = load_augment(None, dataset.num_classes)
    return load_batches(config, dataset.source("train"), 0, SIZE, own)


def theirs(root: Path) -> Iterator[Any]:
    """Batches of a DataLoader, epoch after epoch."""
    loader = torch.utils.data.DataLoader(
        Photographs(root, "train"),
        BATCH,
        shuffle=True,
        num_workers=2,
        multiprocessing_context="forkserver",  # JAX has threads, which a fork loses
        persistent_workers=True,
        drop_last=True,
    )
    return itertools.chain.from_iterable(itertools.repeat(loader))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--batches", type=int, default=20)
    options = parser.parse_args()
    speeds: dict[str, list[float]] = {"ema_jax": [], "DataLoader": []}
    with tempfile.TemporaryDirectory() as records:
        for _ in range(ROUNDS):
            for name in speeds:  # one alone at a time
                own = name == "ema_jax"
                batches = ours(options.root, records) if own else theirs(options.root)
                next(batches)
                start = time.perf_counter()
                for _ in range(options.batches):
                    next(batches)
                seconds = time.perf_counter() - start
                speeds[name].append(options.batches * BATCH / seconds)
                del batches
    print("| | best | median |\n|---|---:|---:|")
    for name, found in speeds.items():
        print(f"| {name} | {max(found):.0f} | {np.median(found):.0f} |")
    best, median = (
        of(speeds["ema_jax"]) / of(speeds["DataLoader"]) for of in (max, np.median)
    )
    print(f"| ratio | {best:.2f} | {median:.2f} |")


if __name__ == "__main__":
    main()
