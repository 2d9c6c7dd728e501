"""Updates and whole images through EMANet, against PyTorch's in the same run.

    python benchmarks/network.py [--works tiny,r50]

Prints minima and medians in milliseconds of interleaved runs, ours and those of the
best of four peers: eager and compiled, in both layouts. Run it with nothing else on the
cores.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import peers
from benchmarks.interleaved import HEADER, interleaved, row
from ema_jax import MODELS
from ema_jax.fold import fold_batch_norm
from ema_jax.segmenter import init_variables
from train.devices.mesh import make_mesh
from train.devices.pages import take_large_pages
from train.update.optimizer import poly_schedule, sgd
from train.update.state import init_state
from train.update.step import make_train_step

OURS = "ema_jax"
FOLDED = "ema_jax, folded"
WORKS = (
    ("update", "tiny", (16, 97, 97)),
    ("update", "r50", (2, 129, 129)),
    ("update", "r50", (2, 257, 257)),
    ("inference", "r50", (1, 513, 513)),
)


def update(
    name: str, shape: tuple[int, int, int], dtype=jnp.float32
) -> dict[str, Callable[[], object]]:
    """A call that takes a step of SGD, and waits for it."""
    model = MODELS[f"emanet_{name}"](dtype=dtype)
    optimizer = sgd(poly_schedule(0.009, 30_000))
    mesh = make_mesh(jax.devices()[:1])
    step = make_train_step(model, optimizer, mesh)
    rng = np.random.default_rng(0)
    batch = {
        "image": rng.integers(0, 256, (*shape, 3), np.uint8),
        "label": rng.integers(0, 21, shape, np.uint8),
        "mask": np.ones(shape, bool),
    }
    batch = jax.device_put(batch, mesh.batch)
    state = jax.jit(lambda: init_state(model, optimizer, seed=0))()
    state = jax.device_put(state, mesh.everywhere)

    def call() -> None:
        nonlocal state
        state, _ = jax.block_until_ready(step(state, batch))

    return {OURS: call}


def inference(
    name: str, shape: tuple[int, int, int], dtype=jnp.float32
) -> dict[str, Callable[[], object]]:
    """Calls that give the logits of images, and wait for them."""
    model = MODELS[f"emanet_{name}"](dtype=dtype)
    images = jax.random.uniform(jax.random.key(0), (*shape, 3))
    variables = init_variables(model, seed=0)
    program = jax.jit(partial(model.apply, train=False))
    folded = fold_batch_norm(model, variables)
    return {
        OURS: lambda: jax.block_until_ready(program(variables, images)),
        FOLDED: lambda: jax.block_until_ready(program(folded, images)),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--works", default="tiny,r50", help="names with commas between")
    chosen = parser.parse_args().works.split(",")
    print(HEADER)
    for kind, name, shape in WORKS:
        if name not in chosen:
            continue
        makes = (
            (inference, peers.inferences)
            if kind == "inference"
            else (
                update,
                peers.updates,
            )
        )
        ours, theirs = (make(name, shape) for make in makes)
        found = interleaved(ours | theirs)
        batch, side, _ = shape
        print(row(f"`emanet_{name}` {kind}, {batch}×{side}²", found, ours), flush=True)


if __name__ == "__main__":
    take_large_pages()
    main()
