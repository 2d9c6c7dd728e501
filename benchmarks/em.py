"""EM attention alone against PyTorch's, and against the rate of a matrix product.

    python benchmarks/em.py

Four images of 4 225 tokens with 512 channels, 64 bases, three iterations: what EMANet
does with crops of 513. Prints minima and medians in milliseconds of interleaved runs,
and multiply-adds in a second beside those of a product of two 1 024² matrices. Run it
with nothing else on the cores.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.interleaved import HEADER, interleaved, row
from ema_jax import em_attention
from tests.golden import peer
from train.devices.pages import take_large_pages

BATCH, TOKENS, CHANNELS, BASES, ITERATIONS = 4, 4225, 512, 64, 3
PRODUCTS = BATCH * TOKENS * CHANNELS * BASES * (2 * ITERATIONS + 1)
SIDE = 1024


def forward(x: jax.Array, bases: jax.Array) -> jax.Array:
    return em_attention(x, bases, num_iters=ITERATIONS).features


@jax.grad
def backward(x: jax.Array, bases: jax.Array) -> jax.Array:
    """The gradient by the tokens of the sum of squares of what comes out."""
    attended = em_attention(x, bases, num_iters=ITERATIONS, gradient="unroll")
    return jnp.sum(jnp.square(attended.features))


def theirs(x: torch.Tensor, bases: torch.Tensor) -> torch.Tensor:
    return peer.em_attention(x, bases, ITERATIONS)[0]


def their_backward(
    forward: Callable[..., torch.Tensor], x: torch.Tensor, bases: torch.Tensor
) -> torch.Tensor:
    """Through every iteration."""
    x = x.detach().requires_grad_()
    [found] = torch.autograd.grad(forward(x, bases).square().sum(), x)
    return found


def main() -> None:
    """Print the table."""
    x = jax.random.normal(jax.random.key(0), (BATCH, TOKENS, CHANNELS))
    bases = jax.random.normal(jax.random.key(1), (BASES, CHANNELS))
    bases /= jnp.linalg.norm(bases, axis=1, keepdims=True)
    matrix = jax.random.normal(jax.random.key(2), (SIDE, SIDE))
    tensors = torch.tensor(jax.device_get(x)), torch.tensor(jax.device_get(bases))[None]
    compiled = torch.compile(theirs)

    def call(function: Callable, *arguments: jax.Array) -> Callable[[], object]:
        program = jax.jit(function)
        return lambda: jax.block_until_ready(program(*arguments))

    calls = {
        "ema_jax": call(forward, x, bases),
        "product": call(jnp.matmul, matrix, matrix),
        "PyTorch": lambda: torch.no_grad()(theirs)(*tensors),
        "PyTorch, compiled": lambda: torch.no_grad()(compiled)(*tensors),
    }
    found = interleaved(calls, runs=15)
    product = found.pop("product")
    print(HEADER)
    print(row("EM attention", found, ["ema_jax"]))
    rates = [PRODUCTS / found["ema_jax"][i] / (SIDE**3 / product[i]) for i in range(2)]
    calls = {
        "ema_jax": call(backward, x, bases),
        "PyTorch": lambda: their_backward(theirs, *tensors),
        "PyTorch, compiled": lambda: their_backward(compiled, *tensors),
    }
    print(row("its gradient, through every iteration", interleaved(calls), ["ema_jax"]))
    least, median = (f"{rate:.2f}" for rate in rates)
    print(f"\nrate, of a plain product's: {least} of the minima, {median} of medians")


if __name__ == "__main__":
    take_large_pages()
    main()
