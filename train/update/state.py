"""What a training step reads and returns."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding, PartitionSpec

from ema_jax.segmenter import init_variables
from train.devices.compiler import options_of_one_run
from train.devices.mesh import DeviceMesh


@flax.struct.dataclass
class TrainState:
    """Everything that training changes, and nothing else.

    Attributes:
        step: number of updates made.
        params: trained parameters.
        batch_stats: running statistics of BN, and the bases μ⁰.
        opt_state: momentum and step counts of the optimiser.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: optax.OptState

    @property
    def variables(self) -> dict[str, Any]:
        """What `model.apply` takes."""
        return {"params": self.params, "batch_stats": self.batch_stats}

    def unless(self, condition: jax.Array | bool, other: "TrainState") -> "TrainState":
        """This state, or where the condition holds the other one, at this step."""
        chosen = jax.tree.map(partial(jnp.where, condition), other, self)
        return chosen.replace(step=self.step)


def split_largest(shapes: Any, mesh: DeviceMesh) -> Any:
    """Shardings of a tree: each array split over `data` along its largest axis.

    That is the largest of those which the devices divide; an array with none is
    everywhere.
    """
    devices = mesh.shape["data"]

    def split(leaf: jax.ShapeDtypeStruct) -> NamedSharding:
        sides = [side if side % devices == 0 else 0 for side in leaf.shape]
        if not any(sides):
            return mesh.everywhere
        spec: list[str | None] = [None] * len(sides)
        spec[sides.index(max(sides))] = "data"
        return NamedSharding(mesh.mesh, PartitionSpec(*spec))

    return jax.tree.map(split, shapes)


def state_sharding(
    shapes: TrainState, mesh: DeviceMesh, *, shard_optimizer: bool
) -> Any:
    """Where each array of a state lives: on every device.

    With `shard_optimizer` each device keeps its part of the optimiser's state, and
    makes that part of the update.
    """
    placed = jax.tree.map(lambda _: mesh.everywhere, shapes)
    if not shard_optimizer:
        return placed
    return placed.replace(opt_state=split_largest(shapes.opt_state, mesh))


@jax.jit
def all_finite(state: TrainState) -> jax.Array:
    """Whether every number of the state is finite."""
    leaves = jax.tree.leaves(state)
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()


def init_state(
    model: nn.Module, optimizer: optax.GradientTransformation, seed: int
) -> TrainState:
    """A fresh state with randomly initialised parameters."""
    variables = init_variables(model, seed)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=optimizer.init(variables["params"]),
    )


def fresh_state(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    seed: int,
    like: TrainState,
) -> Callable[[], TrainState]:
    """`init_state` as one program, placed as `like`: op by op takes far longer."""
    return jax.jit(
        partial(init_state, model, optimizer, seed),
        out_shardings=jax.tree.map(lambda leaf: leaf.sharding, like),
        compiler_options=options_of_one_run(),
    )


def abstract_state(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    mesh: DeviceMesh,
    *,
    shard_optimizer: bool = False,
) -> TrainState:
    """Shapes, types and shardings of the state; see `state_sharding`."""
    shapes = jax.eval_shape(lambda: init_state(model, optimizer, seed=0))
    placed = state_sharding(shapes, mesh, shard_optimizer=shard_optimizer)

    def place(
        leaf: jax.ShapeDtypeStruct, sharding: NamedSharding
    ) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(place, shapes, placed)
