"""EMANet-101 on a GPU, against PyTorch's in the same run.

    python benchmarks/gpu.py [--batch 16] [--side 513]

Training and inference in bfloat16. Prints minima and medians in milliseconds of
interleaved runs, ours and the best of four peers (eager and compiled, in both layouts),
each with what it makes of images in a second, and the memory that each holds at most.
"""

import argparse
import os
import sys
from pathlib import Path

# Two libraries share one card: neither may take all of it at its start.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
sys.path.insert(0, str(Path(__file__).parents[1]))

import jax
import jax.numpy as jnp
import torch

from benchmarks import network, peers
from benchmarks.interleaved import HEADER, interleaved, row

NAME = "r101"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--side", type=int, default=513)
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    if jax.default_backend() != "gpu" or not torch.cuda.is_available():
        raise SystemExit("needs a GPU that both JAX and PyTorch can use")
    shape = (options.batch, options.side, options.side)
    print(f"{torch.cuda.get_device_name()}, jax {jax.__version__}, ", end="")
    print(f"torch {torch.__version__}, CUDA {torch.version.cuda}\n\n{HEADER}")
    for kind, make, make_peers in (
        ("update", network.update, peers.updates),
        ("inference", network.inference, peers.inferences),
    ):
        ours = make(NAME, shape, jnp.bfloat16)
        theirs = make_peers(NAME, shape, "cuda", torch.bfloat16)
        found = interleaved(ours | theirs, options.runs)
        work = f"`emanet_{NAME}` {kind}, {options.batch}×{options.side}², bfloat16"
        print(row(work, found, ours))
        for name, times in found.items():
            speed = 1e3 * options.batch / times.median
            print(f"    {name}: {speed:.0f} images/s", file=sys.stderr, flush=True)
    held = jax.devices()[0].memory_stats()["peak_bytes_in_use"] / 2**30
    theirs_held = torch.cuda.max_memory_reserved() / 2**30
    print(f"\nmemory at most: ours {held:.1f} GiB, PyTorch's {theirs_held:.1f} GiB")


if __name__ == "__main__":
    main()
