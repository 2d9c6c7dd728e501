"""Single convolutions against PyTorch's, on a CPU: forward, and both gradients.

    python benchmarks/convolution.py

Prints medians in milliseconds of interleaved runs, of each implementation, of what
`convolve` chooses, and of the better of PyTorch's two layouts; and the ratio of that to
what is chosen. Run it with nothing else on the cores.
"""

import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.interleaved import interleaved
from ema_jax.convolution import convolve
from ema_jax.shifts import Window
from ema_jax.winograd import fits
from train.devices.pages import take_large_pages

RUNS = 7
OURS = ("xla", "shifted", "winograd", "chosen")
LAYERS = [
    # batch, side, channels, features, size of the kernel, its movement
    (1, 65, 2048, 512, 3, Window()),
    (1, 65, 512, 512, 3, Window(dilation=2)),
    (1, 65, 256, 256, 3, Window(dilation=2)),
    (1, 65, 128, 128, 3, Window()),
    (1, 129, 64, 64, 3, Window()),
    (1, 65, 512, 512, 3, Window(dilation=16)),
    (4, 17, 512, 512, 3, Window(dilation=4)),
    (2, 17, 512, 512, 3, Window(dilation=16)),
    (16, 13, 128, 128, 3, Window()),
    (2, 65, 256, 256, 3, Window(stride=2)),
    (2, 17, 512, 2048, 1, Window()),
    (8, 65, 144, 144, 3, Window(groups=144)),
    (8, 33, 240, 240, 5, Window(groups=240)),
    (8, 17, 672, 672, 5, Window(dilation=2, groups=672)),
]


def ours(x: jax.Array, kernel: jax.Array, window: Window) -> tuple[dict, dict]:
    """Calls of both directions, by their names."""
    forward, backward = {}, {}
    for name in OURS:
        if name == "winograd" and not fits(kernel.shape, window):
            continue
        implementation = None if name == "chosen" else name
        call = partial(convolve, window=window, implementation=implementation)
        y = jax.jit(call)(x, kernel)
        gradients = jax.jit(lambda x, k, g, call=call: jax.vjp(call, x, k)[1](g))
        once = partial(jax.jit(call), x, kernel)
        both = partial(gradients, x, kernel, y)
        forward[name] = lambda f=once: jax.block_until_ready(f())
        backward[name] = lambda f=both: jax.block_until_ready(f())
    return forward, backward


def theirs(x: np.ndarray, kernel: np.ndarray, window: Window) -> tuple[dict, dict]:
    """The same, by PyTorch, in both of its layouts."""
    forward, backward = {}, {}
    margin = window.dilation * (len(kernel) - 1) // 2
    for layout in (torch.contiguous_format, torch.channels_last):

        def leaf(array: np.ndarray, *axes: int, layout=layout) -> torch.Tensor:
            turned = torch.tensor(array).permute(*axes)
            return turned.contiguous(memory_format=layout).requires_grad_()

        call = partial(
            torch.nn.functional.conv2d,
            leaf(x, 0, 3, 1, 2),
            leaf(kernel, 3, 2, 0, 1),
            stride=window.stride,
            padding=margin,
            dilation=window.dilation,
            groups=window.groups,
        )
        y = call()
        gradient = y.detach().clone(memory_format=torch.preserve_format)

        def pull(y=y, call=call, gradient=gradient) -> object:
            return torch.autograd.grad(y, call.args, gradient, retain_graph=True)

        forward[f"torch {layout}"] = torch.no_grad()(call)
        backward[f"torch {layout}"] = pull
    return forward, backward


def main() -> None:
    """Print the table."""
    print("| layer | | XLA | shifted | Winograd | chosen | PyTorch | ratio |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    rng = np.random.default_rng(0)
    for batch, side, channels, features, size, window in LAYERS:
        x = rng.standard_normal((batch, side, side, channels), np.float32)
        shape = (size, size, channels // window.groups, features)
        kernel = rng.standard_normal(shape, np.float32)
        pairs = zip(
            ("forward", "gradients"),
            ours(jnp.array(x), jnp.array(kernel), window),
            theirs(x, kernel, window),
            strict=True,
        )
        name = f"{channels}→{features}, {size}×{size}, {batch}×{side}², {window[:3]}"
        for direction, own, peer in pairs:
            times = interleaved(own | peer, RUNS)
            found = {name: of.median for name, of in times.items()}
            best = min(found[name] for name in peer)
            cells = [*(found.get(name) for name in OURS), best]
            figures = " | ".join("" if ms is None else f"{ms:.1f}" for ms in cells)
            print(
                f"| {name} | {direction} | {figures} | {best / found['chosen']:.2f} |"
            )


if __name__ == "__main__":
    take_large_pages()
    main()
