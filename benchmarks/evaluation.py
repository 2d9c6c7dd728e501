"""Whole images of many sizes: shared canvases, a program for each size, and PyTorch.

    python benchmarks/evaluation.py [--backbone tiny] [--images 64]

All evaluate the same generated images end to end, compiling included, ours from an
empty cache, PyTorch's eager, image by image, in the better of its layouts. Prints a
table. Run it with nothing else on the cores.
"""

import argparse
import sys
import time
from pathlib import Path

import jax
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import peers
from ema_jax import MODELS, Segmenter
from ema_jax.canvas import plan
from ema_jax.inference import Inference
from ema_jax.segmenter import init_variables
from train.devices.mesh import make_mesh
from train.devices.pages import take_large_pages
from train.evaluation.evaluate import PROGRAM, evaluate

NUM_CLASSES = 21
SIZES = (
    (333, 500), (375, 500), (500, 375), (500, 333), (334, 500), (281, 500),
    (400, 500), (366, 500), (500, 400), (442, 500), (500, 500), (335, 500),
    (332, 500), (374, 500), (500, 334), (389, 500), (500, 332), (357, 500),
    (376, 500), (500, 335), (325, 500), (480, 500), (500, 281), (313, 500),
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
    model: Segmenter,
    variables: dict,
    examples: list[dict],
    multiple: int,
    batch: int,
    program: int | None,
) -> tuple[float, int, np.ndarray]:
    """Seconds, programs compiled and the confusion matrix of one evaluation."""
    jax.clear_caches()
    mesh = make_mesh(jax.devices()[:1])
    sizes = np.array([example["label"].shape for example in examples])
    start = time.perf_counter()
    found = evaluate(
        Inference(model, sharding=mesh.batch),
        variables,
        examples,
        sizes,
        mesh,
        num_classes=NUM_CLASSES,
        batch_size=batch,
        canvas_multiple=multiple,
        program=program,
    )
    confusion = sum(counts.confusion.sum(0, dtype=np.int64) for counts in found)
    seconds = time.perf_counter() - start
    shapes = {batch.shape for batch in plan(sizes, multiple, batch, program=program)}
    return seconds, len(shapes), confusion


def run_peer(name: str, examples: list[dict]) -> float:
    """Seconds of PyTorch, in the better of its layouts."""
    found = []
    for memory in peers.LAYOUTS.values():
        model = peers.network(name).eval().to(memory_format=memory)
        start = time.perf_counter()
        confusion = torch.zeros(NUM_CLASSES**2, dtype=torch.int64)
        for example in examples:
            image = torch.from_numpy(example["image"]).permute(2, 0, 1)[None] / 255
            with torch.inference_mode():
                logits = model(image.contiguous(memory_format=memory))
            labels = torch.from_numpy(example["label"]).long()
            pairs = labels * NUM_CLASSES + logits[0].argmax(0)
            confusion += torch.bincount(pairs.flatten(), minlength=NUM_CLASSES**2)
        found.append(time.perf_counter() - start)
    return min(found)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="tiny", choices=sorted(peers.SIZES))
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--multiple", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    options = parser.parse_args()
    model = MODELS[f"emanet_{options.backbone}"](num_classes=NUM_CLASSES)
    variables = init_variables(model, seed=0)
    examples = make_examples(options.images, options.scale)
    # Of sizes 8k+1, to which images are padded: those that fall together share one.
    alone, programs, one = run(model, variables, examples, 8, 1, None)
    together, few, other = run(
        model, variables, examples, options.multiple, options.batch, PROGRAM
    )
    eager = run_peer(options.backbone, examples)
    print(f"`emanet_{options.backbone}`, {options.images} images, {len(SIZES)} sizes\n")
    print("| | programs | seconds | of the canvases' |\n|---|---:|---:|---:|")
    for name, count, seconds in (
        ("shared canvases", few, together),
        ("one for each size", programs, alone),
        ("PyTorch, eager", 0, eager),
    ):
        print(f"| {name} | {count or '–'} | {seconds:.1f} | {seconds / together:.2f} |")
    print(
        f"\npixels that fall otherwise: {np.abs(one - other).sum() // 2} of {one.sum()}"
    )


if __name__ == "__main__":
    take_large_pages()
    main()
