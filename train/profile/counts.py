"""What a network costs by the rules of the paper, counted from one trace."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr

from ema_jax import Segmenter
from ema_jax.segmenter import in_channels, variable_shapes
from train.profile.macs import bodies, contractions, scopes

Path = tuple[str, ...]
Costs = Iterable[tuple[Path, int]]

INCREMENT: dict[str, dict[str, float]] = {
    "ContextHead": {"reduce": 1, "context": 1},
    "DeepLabV3Head": {"aspp": 1},
    "DeepLabV3PlusHead": {"aspp": 1, "low_level": 1, "refine1": 1, "refine2": 1},
    "PSAHead": {
        "collect_reduce": 1,
        "collect_attend": 1,
        "collect_map": 1,
        "distribute_reduce": 1,
        "distribute_attend": 1,
        "distribute_map": 1,
        "project": 1,
        "fuse": 1 / 2,
    },
}
"""By class of the head, its submodules that the paper adds to the backbone.

What a head does outside its submodules is added too. The rest leads from features to
classes, as in a network without the addition: the last convolution and the classifier.
PSANet's last convolution reads the features of the backbone beside as many of its own,
and only these are an addition.
"""


class Split(NamedTuple):
    """One cost, by where it arises."""

    backbone: int
    increment: int
    classifier: int

    @property
    def total(self) -> int:
        return sum(self)


class Counts(NamedTuple):
    """What a network costs.

    Attributes:
        parameters: trained ones, without an auxiliary head.
        multiply_adds: of a forward pass, without `resizing`.
        resizing: multiply-adds with constants. Bilinear resizing is two matrix products
            here; tables of networks leave it out.
        outputs: bytes of what the innermost modules put out in a forward pass:
            convolutions, normalisations, pooling and ReLUs. A module counts once,
            however often it is called; a residual block has one ReLU for its three
            places, whose last output counts.
    """

    parameters: Split
    multiply_adds: Split
    resizing: int
    outputs: Split


def count(model: Segmenter, size: int, batch: int) -> Counts:
    """The costs of `model` on `batch` images of `size` × `size`; nothing runs."""
    variables = variable_shapes(model)
    shape = (batch, size, size, in_channels(model))
    images = jax.ShapeDtypeStruct(shape, jnp.float32)
    program, layers = _trace(model, variables, images)
    found = contractions(program)
    products = [(c.path[1:], c.multiply_adds) for c in found if not c.fixed]
    parameters = [
        (tuple(entry.key for entry in path), leaf.size)
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"])
    ]
    shares = INCREMENT[type(model.head).__name__]
    whole = {name: share for name, share in shares.items() if share == 1}
    return Counts(
        parameters=split(parameters, shares),
        multiply_adds=split(products, shares),
        resizing=sum(c.multiply_adds for c in found if c.fixed),
        outputs=split([*layers, *_activations(program)], whole),
    )


def split(costs: Costs, shares: Mapping[str, float]) -> Split:
    """Sum costs, each with the path of the module in which it arises.

    Args:
        costs: pairs of a path that begins with "backbone" or "head", and a cost.
        shares: of the head's submodules, what belongs to the increment.

    Example:
        >>> costs = [(("backbone", "conv"), 8), (("head", "a"), 4), (("head", "b"), 1)]
        >>> split(costs, {"a": 0.5})
        Split(backbone=8, increment=2, classifier=3)
    """
    sums: Counter[str] = Counter()
    for path, cost in costs:
        if path[:1] == ("backbone",):
            sums["backbone"] += cost
        elif path[:1] == ("head",):
            added = round(cost * (shares.get(path[1], 0) if path[1:] else 1))
            sums["increment"] += added
            sums["classifier"] += cost - added
    return Split(**{field: sums[field] for field in Split._fields})


def _trace(model: Segmenter, variables: Any, images: Any) -> tuple[Jaxpr, Costs]:
    """The forward pass, and the bytes that its innermost modules put out."""
    calls: dict[Path, int] = {}

    def record(call: Callable, args: Any, options: Any, context: Any) -> Any:
        result = call(*args, **options)
        if context.method_name == "__call__" and result is not args[0]:
            calls[context.module.path] = sum(map(_bytes, jax.tree.leaves(result)))
        return result

    with nn.intercept_methods(record):
        forward = partial(model.apply, train=False)
        program = jax.make_jaxpr(forward)(variables, images)
    outer = {path[:depth] for path in calls for depth in range(len(path))}
    inner = [(path, size) for path, size in calls.items() if path not in outer]
    return program.jaxpr, inner


def _activations(program: Jaxpr) -> Costs:
    """The bytes that pooling and ReLU put out, which are functions and no modules."""
    blocks = {}
    for path, name, size in _calls(program, ()):
        if name == "relu" and path[:1] == ("backbone",):
            blocks[path[:2]] = size
        else:
            yield path, size
    yield from blocks.items()


def _calls(program: Jaxpr, path: Path) -> Iterator[tuple[Path, str, int]]:
    """Path, name and bytes of all calls of ReLU and pooling, in order."""
    for equation in program.eqns:
        here = path + scopes(equation)
        name = equation.params.get("name", equation.primitive.name)
        if name == "relu" or str(name).startswith("reduce_window"):
            yield here[1:], name, sum(_bytes(v.aval) for v in equation.outvars)
        else:
            for body in bodies(equation):
                yield from _calls(body, here)


def _bytes(array: Any) -> int:
    return array.size * array.dtype.itemsize
