"""Compiled programs of a network, the memory that they need, and their times."""

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding
from jax.stages import Compiled
from jax.typing import DTypeLike

from ema_jax import Segmenter
from ema_jax.segmenter import in_channels
from train.devices.memory import attempt, free_memory, peak_memory
from train.devices.mesh import make_mesh
from train.devices.partition import abstract_batch
from train.profile.output import Value
from train.update.optimizer import frozen_parameters, poly_schedule, sgd
from train.update.state import init_state
from train.update.step import make_train_step

DOES_NOT_FIT = "does not fit"
LATENCY = ("latency_lower", "latency_median", "latency_upper")
SAMPLE_SECONDS = 0.05
"""A shorter call is repeated until a sample takes so long: clocks are coarse."""

Sampler = Callable[[], float]


class Settings(NamedTuple):
    """Where and how something is measured; see `main.py profile --help`.

    Attributes:
        memory: whether programs are compiled, or only counted.
        runs: timed samples of each; 0: no times.
    """

    device: jax.Device
    dtype: DTypeLike = jnp.float32
    memory: bool = True
    runs: int = 10

    def __str__(self) -> str:
        dtype = jnp.dtype(self.dtype).name
        return f"{dtype}, {self.device.device_kind}, jax {jax.__version__}"


def abstract_variables(module: nn.Module, inputs: Any) -> Any:
    """Shapes of the variables of a module that takes `inputs`."""
    init = partial(module.init, train=False)
    return jax.eval_shape(init, jax.random.key(0), inputs)


def forward_program(module: nn.Module, inputs: Any, device: jax.Device) -> Compiled:
    """Compile `module(inputs, train=False)`, from shapes alone."""
    place = SingleDeviceSharding(device)
    forward = jax.jit(partial(module.apply, train=False), in_shardings=place)
    return forward.lower(abstract_variables(module, inputs), inputs).compile()


def training_program(
    model: Segmenter, size: int, batch: int, device: jax.Device
) -> Compiled:
    """Compile one update of the published recipe, from shapes alone."""
    optimizer = sgd(poly_schedule(0.009, 30_000), frozen=frozen_parameters(model))
    step = make_train_step(model, optimizer, make_mesh([device]))
    state = jax.eval_shape(lambda: init_state(model, optimizer, 0))
    images = abstract_batch(batch, (size, size), in_channels(model))
    return cast(Any, step).lower(state, images).compile()


def memory_cell(program: Compiled | None) -> Value:
    """`peak_memory`, for a table."""
    return DOES_NOT_FIT if program is None else peak_memory(program)


def latency_cells(
    programs: Mapping[str, Compiled | None], settings: Settings
) -> dict[str, dict[str, Value]]:
    """Quartiles of the seconds of each program, measured in turns, for a table.

    Each has the memory to itself: what it takes is there during its samples alone.
    """
    if not settings.runs:
        return {name: {} for name in programs}
    free = free_memory(settings.device)
    samplers = {
        name: make_sampler(
            program, partial(random_arrays, program.args_info[0], settings.device)
        )
        for name, program in programs.items()
        if program is not None and peak_memory(program) < free
    }
    samples = interleaved(samplers, settings.runs)
    return {name: quartiles(samples.get(name)) for name in programs}


def quartiles(seconds: Sequence[float] | None) -> dict[str, Value]:
    """Cells of the samples of a program; None: it does not fit.

    Example:
        >>> quartiles([1.0, 2.0, 9.0, 3.0, 4.0])
        {'latency_lower': 2.0, 'latency_median': 3.0, 'latency_upper': 4.0}
    """
    if seconds is None:
        return dict.fromkeys(LATENCY, DOES_NOT_FIT)
    found = np.quantile(seconds, (0.25, 0.5, 0.75)).tolist()
    return dict(zip(LATENCY, found, strict=True))


def random_arrays(shapes: Any, device: jax.Device) -> Any:
    """Arrays of these shapes on the device, as large as those of a network.

    Zeros could be faster to compute with than numbers. Kernels keep the scale of what
    they are applied to, which is one; variances are positive, and bases, which a
    factorisation may not have otherwise, are not negative.
    """

    def draw(path: tuple, shape: Any) -> jax.Array:
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


def _mean_seconds(call: Callable[[], Any], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        jax.block_until_ready(call())
    return (time.perf_counter() - start) / repeats


def interleaved(samplers: Mapping[str, Sampler], runs: int) -> dict[str, list[float]]:
    """Take `runs` samples of each, in rounds of which each begins with another one.

    What slows the machine for a while then slows all of them. What runs out of memory
    in any round is left out.
    """
    samples: dict[str, list[float]] = {name: [] for name in samplers}
    turns = deque(samplers)
    for _ in range(runs):
        for name in tuple(turns):
            seconds = attempt(samplers[name])
            if seconds is None:
                turns.remove(name)
                del samples[name]
            else:
                samples[name].append(seconds)
        turns.rotate(-1)
    return samples
