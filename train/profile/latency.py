"""Times of several programs, run in turns so that all see the same machine."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from train.devices.memory import attempt

SAMPLE_SECONDS = 0.05
"""A shorter call is repeated until a sample takes so long: clocks are coarse."""

Sampler = Callable[[], float]


class Latency(NamedTuple):
    """Seconds of one call: the quartiles of the samples."""

    lower: float
    median: float
    upper: float


def make_sampler(
    function: Callable[..., Any], place: Callable[[], tuple[Any, ...]]
) -> Sampler:
    """A function that times `function(*place())` once more, but not `place`.

    The first sample makes two calls more, the cold one and one that tells how often
    to repeat. Between samples nothing of what was placed is kept.
    """
    repeats = 0

    def sample() -> float:
        nonlocal repeats
        call = partial(function, *jax.block_until_ready(place()))
        if not repeats:
            seconds = [_mean_seconds(call, 1) for _ in range(2)][1]
            wanted = np.ceil(SAMPLE_SECONDS / max(seconds, 1e-9))
            repeats = int(np.clip(wanted, 1, 1000))
        return _mean_seconds(call, repeats)

    return sample


def interleaved(samplers: Mapping[str, Sampler], runs: int) -> dict[str, Latency]:
    """Take `runs` samples of each, in rounds of which each begins with another one.

    What slows the machine for a while then slows all of them. What runs out of memory
    in any round is left out.

    Example:
        >>> seconds = iter([1.0, 2.0, 9.0, 3.0, 4.0])
        >>> interleaved({"net": lambda: next(seconds)}, runs=5)["net"]
        Latency(lower=2.0, median=3.0, upper=4.0)
    """
    samples: dict[str, list[float]] = {name: [] for name in samplers}
    names = list(samplers)
    for run in range(runs):
        first = run % max(1, len(names))
        for name in names[first:] + names[:first]:
            if name not in samples:
                continue
            seconds = attempt(samplers[name])
            if seconds is None:
                del samples[name]
            else:
                samples[name].append(seconds)
    return {
        name: Latency(*np.quantile(seconds, (0.25, 0.5, 0.75)).tolist())
        for name, seconds in samples.items()
    }


def _mean_seconds(call: Callable[[], Any], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        jax.block_until_ready(call())
    return (time.perf_counter() - start) / repeats
