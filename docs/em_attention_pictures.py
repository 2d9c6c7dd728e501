"""Draw the pictures of em_attention.md, from the library itself.

    python docs/em_attention_pictures.py

writes docs/em_maps.png and docs/em_likelihood.png.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ema_jax import em_trace
from ema_jax.em import expectation, reconstruct
from train.data.shapes import scene

FOLDER = Path(__file__).parent
NUM_BASES, TEMPERATURE = 8, 20.0
SHOWN = (1, 2, 3, 5, 20)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def tokens_of(image: np.ndarray) -> np.ndarray:
    """A direction for each pixel: its colour against the mean, and a constant."""
    colours = image.reshape(-1, 3) / 255
    colours = (colours - colours.mean(0)) / colours.std()
    return unit(np.c_[colours, np.full(len(colours), 0.5)]).astype(np.float32)


def first_bases(tokens: np.ndarray, seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return unit(tokens.mean(0) + 0.3 * rng.standard_normal((NUM_BASES, 4)))


def draw_maps(image: np.ndarray, tokens: np.ndarray, start: np.ndarray) -> None:
    """One row for each of four bases: its responsibility after some iterations."""
    trace = em_trace(tokens, start, num_iters=max(SHOWN), temperature=TEMPERATURE)
    maps = [
        expectation(tokens, bases, temperature=TEMPERATURE)
        for bases in (start, *trace.bases[:-1])
    ]
    busiest = np.argsort(-np.sum(maps[-1], axis=0))[:4]
    figure, axes = plt.subplots(
        5, len(SHOWN) + 1, figsize=(11, 9.2), layout="constrained"
    )
    for axis in axes.flat:
        axis.set_axis_off()
    axes[0, 0].imshow(image)
    axes[0, 0].set_title("scene")
    for column, step in enumerate(SHOWN, start=1):
        rebuilt = reconstruct(maps[step - 1], trace.bases[step - 1])
        colour = np.asarray(rebuilt)[:, :3].reshape(image.shape)
        axes[0, column].imshow(np.clip(0.5 + colour / 2, 0, 1))
        axes[0, column].set_title(f"T = {step}\nrebuilt Zμ")
        for row, k in enumerate(busiest, start=1):
            z = np.asarray(maps[step - 1][:, k]).reshape(image.shape[:2])
            axes[row, column].imshow(z, vmin=0, vmax=1, cmap="magma")
    for row, k in enumerate(busiest, start=1):
        axes[row, 0].text(0.5, 0.5, f"basis {k + 1}", ha="center", va="center")
    figure.savefig(FOLDER / "em_maps.png", dpi=80)


def draw_likelihood(tokens: np.ndarray, start: np.ndarray) -> None:
    """Mean log-likelihood and movement of the bases, iteration by iteration."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for temperature in (5.0, 20.0, 80.0):
        trace = em_trace(tokens, start, num_iters=30, temperature=temperature)
        steps = np.arange(1, 31)
        gain = np.asarray(trace.log_likelihood - trace.log_likelihood[0]) / len(tokens)
        left.plot(steps, gain, ".-", label=f"λ = {temperature:g}")
        right.semilogy(steps, trace.change, ".-", label=f"λ = {temperature:g}")
    left.set(xlabel="iteration", ylabel="nats per token above the first")
    right.set(xlabel="iteration", ylabel="‖Δμ‖")
    for axis in (left, right):
        axis.legend()
        axis.grid(alpha=0.3)
    figure.savefig(FOLDER / "em_likelihood.png", dpi=80)


if __name__ == "__main__":
    picture, _ = scene(605)
    pixels = tokens_of(picture)
    bases = first_bases(pixels)
    draw_maps(picture, pixels, bases)
    draw_likelihood(pixels, bases)
