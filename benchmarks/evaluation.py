"""Whole images of many sizes: a program for each size against a few canvases.

    python benchmarks/evaluation.py [--model emanet_tiny] [--images 24]

Both evaluate the same generated images end to end, compiling included, each from an
empty cache; prints a table and the ratio.
"""

import argparse
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from ema_jax import MODELS, Segmenter
from ema_jax.canvas import plan
from ema_jax.inference import Inference
from train.devices.mesh import make_mesh
from train.evaluation.evaluate import evaluate

NUM_CLASSES = 21
SIZES = (
    (333, 500), (375, 500), (500, 375), (500, 333), (334, 500), (281, 500),
    (400, 500), (366, 500), (500, 400), (442, 500), (500, 500), (335, 500),
)  # fmt: skip
"""Frequent heights and widths of PASCAL VOC."""


def make_examples(count: int, scale: float) -> list[dict]:
    """Noise of the sizes above, scaled."""
    rng = np.random.default_rng(0)
    examples = []
    for index in range(count):
        height, width = (int(n * scale) for n in SIZES[index % len(SIZES)])
        examples.append(
            {
                "image": rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
                "label": rng.integers(0, NUM_CLASSES, (height, width), dtype=np.uint8),
            }
        )
    return examples


def run(
    model: Segmenter, variables: dict, examples: list[dict], multiple: int, batch: int
) -> tuple[float, int, np.ndarray]:
    """Seconds, programs compiled and the confusion matrix of one evaluation."""
    jax.clear_caches()
    mesh = make_mesh(jax.devices()[:1])
    sizes = np.array([example["label"].shape for example in examples])
    start = time.perf_counter()
    confusion = evaluate(
        Inference(model, sharding=mesh.batch),
        variables,
        examples,
        sizes,
        mesh,
        num_classes=NUM_CLASSES,
        batch_size=batch,
        canvas_multiple=multiple,
    )
    seconds = time.perf_counter() - start
    shapes = {batch.shape for batch in plan(sizes, multiple, batch)}
    return seconds, len(shapes), confusion


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="emanet_tiny", choices=sorted(MODELS))
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--multiple", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    options = parser.parse_args()
    model = MODELS[options.model](num_classes=NUM_CLASSES)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 65, 65, 3)), train=False)
    examples = make_examples(options.images, options.scale)
    # A canvas of every image's own 8k+1 size is the program for each size.
    alone = run(model, variables, examples, 8, 1)
    together = run(model, variables, examples, options.multiple, options.batch)
    print(f"{options.model}, {options.images} images of {len(SIZES)} sizes")
    print("                 programs   seconds")
    print(f"one for each size  {alone[1]:6d}  {alone[0]:8.1f}")
    print(f"canvases           {together[1]:6d}  {together[0]:8.1f}")
    print(f"ratio {alone[0] / together[0]:.2f}")
    print(f"same confusion matrix: {np.array_equal(alone[2], together[2])}")


if __name__ == "__main__":
    main()
