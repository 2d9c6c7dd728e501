"""The rows of one large image over several devices: results, memory and exchanges.

    python benchmarks/space.py [--model emanet_r50] [--size 1025 2049] [--space 4]

One image without and with its rows split, the latter on a canvas that divides: the
logits and statistics of a forward pass in training are compared, and the programs of a
forward pass and of an update, which are compiled only, by their memory and collectives.
What float32 alone changes is measured too: the same device, an image rounded otherwise.
On a machine with fewer devices they are virtual ones of its CPU.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from ema_jax import MODELS, Segmenter
from ema_jax.canvas import place, round_up, split_rows
from train.aot.collectives import collectives, tally
from train.aot.hlo import parse
from train.devices.mesh import DeviceMesh, make_mesh
from train.devices.partition import abstract_batch
from train.update.objective import forward
from train.update.optimizer import poly_schedule, sgd
from train.update.state import TrainState, init_state
from train.update.step import make_train_step

OPTIMIZER = sgd(poly_schedule(0.009, 30_000))


def forward_program(
    model: Segmenter, state: TrainState, image: np.ndarray, mesh: DeviceMesh
) -> tuple[Any, tuple]:
    """A compiled forward pass in training, and its arguments on the mesh."""
    size = image.shape[:2]
    shape = canvas(model, size, mesh)
    split, everywhere = mesh.batch, mesh.everywhere
    mask = place(np.ones(size, bool), shape)[None] if shape != size else None

    def logits(variables: Any, images: Any, mask: Any) -> Any:
        key = jax.random.key(0)
        outputs, stats = forward(
            model, variables, images, mask, key, 1, auxiliary=False
        )
        return outputs[0], stats

    arguments = (
        jax.device_put(state.variables, everywhere),
        jax.device_put(place(image, shape)[None], split),
        jax.device_put(mask, split),
    )
    program = jax.jit(logits, out_shardings=(split, everywhere))
    return program.lower(*arguments).compile(), arguments


def update_program(
    model: Segmenter, state: TrainState, size: tuple[int, int], mesh: DeviceMesh
) -> Any:
    """A compiled update from one image."""
    step: Any = make_train_step(model, OPTIMIZER, mesh, crop_rows=size[0])
    batch = abstract_batch(1, canvas(model, size, mesh))
    return step.lower(jax.eval_shape(lambda: state), batch).compile()


def canvas(
    model: Segmenter, size: tuple[int, int], mesh: DeviceMesh
) -> tuple[int, int]:
    """Height and width of the arrays that hold an image."""
    multiple = split_rows(model.backbone.output_stride, mesh.shape["space"])
    return round_up(size[0], multiple), size[1]


def temporaries(name: str, program: Any) -> int:
    """Bytes of a device that a program needs beside its arguments and results."""
    found = program.memory_analysis().temp_size_in_bytes
    print(f"{name}: temporaries {found / 2**30:.2f} GiB of a device")
    for kind, total in tally(collectives(parse(program.as_text()))).items():
        size = total.size / 2**20
        print(f"    {kind:<20}{total.count:>4}{size:>8.2f} MiB", flush=True)
    return found


def error(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference, in parts of the largest value."""
    return float(np.abs(one - other).max() / np.abs(one).max())


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="emanet_r50")
    parser.add_argument("--size", type=int, nargs=2, default=(1025, 2049))
    parser.add_argument("--space", type=int, default=4)
    given = parser.parse_args()
    flag = f"--xla_force_host_platform_device_count={given.space}"
    os.environ["XLA_FLAGS"] = f"{flag} {os.environ.get('XLA_FLAGS', '')}"

    model = MODELS[given.model](dropout_rate=0.0)
    size = tuple(given.size)
    image = np.random.default_rng(0).standard_normal((*size, 3), np.float32)
    state = jax.jit(lambda: init_state(model, OPTIMIZER, seed=0))()
    results, memory = [], []
    for space in (1, given.space):
        mesh = make_mesh(jax.devices()[:space], space=space)
        program, arguments = forward_program(model, state, image, mesh)
        memory.append(temporaries(f"forward, {space} device(s)", program))
        logits, stats = jax.device_get(program(*arguments))
        results.append((logits[:, : size[0]], stats))
        if space == 1:
            variables, images, mask = arguments
            rounded, _ = jax.device_get(program(variables, images * (1 + 1e-7), mask))
        program = update_program(model, state, size, mesh)
        memory.append(temporaries(f"update, {space} device(s)", program))

    print(f"temporaries of forward: {memory[2] / memory[0]:.3f} of one device's")
    print(f"temporaries of update: {memory[3] / memory[1]:.3f} of one device's")
    (logits, stats), (split_logits, split_stats) = results
    print(f"logits: {error(logits, split_logits):.1e} of the largest")
    print(f"    of the image times 1 + 1e-7: {error(logits, rounded):.1e}")
    differences = jax.tree.leaves(jax.tree.map(error, stats, split_stats))
    print(f"running statistics and bases: at most {max(differences):.1e}")


if __name__ == "__main__":
    main()
