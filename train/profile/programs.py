"""Compiled programs of a network, the memory that they need, and their times."""

import math
import time
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import SingleDeviceSharding
from jax.stages import Compiled

from ema_jax import Segmenter
from train.devices.memory import attempt, free_memory, peak_memory
from train.devices.mesh import make_mesh
from train.devices.partition import abstract_batch
from train.profile.output import Value
from train.update.optimizer import frozen_parameters, poly_schedule, sgd
from train.update.state import init_state
from train.update.step import make_train_step
from train.user.errors import UserError

DOES_NOT_FIT = "does not fit"
SAMPLE_SECONDS = 0.05
"""A shorter call is repeated until a sample takes so long: clocks are coarse."""

Sampler = Callable[[], float]


class Latency(NamedTuple):
    """Seconds of one call: the quartiles of the samples."""

    lower: float
    median: float
    upper: float


class Program(NamedTuple):
    """A compiled function, and the shapes of what it takes."""

    compiled: Compiled
    shapes: tuple[Any, ...]


def find_device(platform: str | None) -> jax.Device:
    """The first device of a platform, by default of the fastest.

    Raises:
        UserError: there is no such device.
    """
    try:
        if platform == "":  # which jax takes for the default
            raise RuntimeError("no name")
        return jax.devices(platform)[0]
    except RuntimeError as error:
        found = sorted({jax.devices()[0].platform, "cpu"})
        raise UserError(
            f"--device={platform}: jax finds none here; there are: {', '.join(found)}"
        ) from error


def forward_program(
    module: nn.Module, variables: Any, inputs: Any, device: jax.Device
) -> Program:
    """Compile `module(inputs, train=False)`, from shapes alone."""
    place = SingleDeviceSharding(device)

    def forward(variables: Any, inputs: Any) -> Any:
        return module.apply(variables, inputs, train=False)

    lowered = jax.jit(forward, in_shardings=place).lower(variables, inputs)
    return Program(lowered.compile(), (variables, inputs))


def training_program(
    model: Segmenter, size: int, batch: int, device: jax.Device
) -> Program:
    """Compile one update of the published recipe, from shapes alone."""
    optimizer = sgd(poly_schedule(0.009, 30_000), frozen=frozen_parameters(model))
    step = make_train_step(model, optimizer, make_mesh([device]))
    state = jax.eval_shape(lambda: init_state(model, optimizer, 0))
    images = abstract_batch(batch, (size, size))
    compiled = cast(Any, step).lower(state, images).compile()
    return Program(compiled, (state, images))


def memory_cell(program: Program | None) -> Value:
    """`peak_memory`, for a table."""
    return DOES_NOT_FIT if program is None else peak_memory(program.compiled)


def latency_cells(latency: Latency | None) -> dict[str, Value]:
    """The quartiles, for a table."""
    return {
        f"latency_{field}": DOES_NOT_FIT if latency is None else getattr(latency, field)
        for field in Latency._fields
    }


def latencies(
    programs: Mapping[str, Program], runs: int, device: jax.Device
) -> dict[str, Latency]:
    """Times of those of the programs that fit into the memory, measured in turns.

    Each has the memory to itself: what it takes is there during its samples alone.
    """
    free = free_memory(device)
    fitting = {
        name: program
        for name, program in programs.items()
        if peak_memory(program.compiled) < free
    }
    samplers = {}
    for name, program in fitting.items():
        samplers[name] = make_sampler(
            program.compiled, partial(random_arrays, program.shapes, device)
        )
    return interleaved(samplers, runs)


def random_arrays(shapes: Any, device: jax.Device) -> Any:
    """Arrays of these shapes on the device, as large as those of a network.

    Zeros could be faster to compute with than numbers. Kernels keep the scale of what
    they are applied to, which is one; variances are positive, and bases, which a
    factorisation may not have otherwise, are not negative.
    """

    def draw(path: tuple, shape: jax.ShapeDtypeStruct) -> jax.Array:
        names = [getattr(entry, "key", None) for entry in path]
        values = np.resize(_numbers(), shape.shape)
        if "params" in names:
            values = values / max(1, math.prod(shape.shape[:-1])) ** 0.5
        elif names[-1] == "var":
            values = np.ones_like(values)
        elif names[-1] == "bases":
            values = abs(values) / shape.shape[-1] ** 0.5
        return jax.device_put(values.astype(shape.dtype), device)

    return jax.tree_util.tree_map_with_path(draw, shapes)


@cache
def _numbers() -> np.ndarray:
    """N(0, 1), to repeat: drawing all would take longer than the programs do.

    A prime number of them, so that no two tokens of some features are the same.
    """
    return np.random.default_rng(0).standard_normal(1_000_003, np.float32)


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
