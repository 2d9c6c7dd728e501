"""The least that a training step would move, from the shapes of its tensors."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import Jaxpr

from train.aot.parts import part_of
from train.profile.macs import bodies

CONTRACTIONS = ("conv_general_dilated", "dot_general")


def least(step: Callable[..., Any], state: Any, batch: Any) -> Counter[str]:
    """Bytes by part of a step that reads and writes each tensor where it must.

    - A convolution, or matrix product, reads its two inputs and writes its result,
      once, forward and in both gradients: the images and kernels in the type in which
      they are computed. The body of a loop counts once.
    - All else is done on the way and costs nothing: batch statistics where a
      convolution writes, to normalise, ReLU and sums of branches where the next one
      reads, softmax and loss between the two products that enlarge the logits and their
      gradients, pooling.
    - The optimiser reads each gradient, and reads and writes parameters and momentum.

    What stays on a chip between two convolutions never reaches its memory: in the
    bytes of HBM a program can be below this.

    Args:
        step: (state, batch) -> anything, of the images of one chip.
        state: whose `params` and `opt_state` are updated; shapes are enough.
        batch: of that step.
    """
    program = jax.make_jaxpr(step)(state, batch).jaxpr
    found = _contractions(program, "")
    held = jax.tree.leaves((state.params, state.opt_state))
    gradients = jax.tree.leaves(state.params)
    found["optimiser and rest"] += 2 * _size(held) + _size(gradients)
    return found


def _contractions(program: Jaxpr, path: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for equation in program.eqns:
        here = f"{path}/{equation.source_info.name_stack}"
        if equation.primitive.name in CONTRACTIONS:
            atoms = (*equation.invars, *equation.outvars)
            found[part_of(here + "/")] += _size([atom.aval for atom in atoms])
            continue
        for body in bodies(equation):
            found += _contractions(body, here)
    return found


def _size(arrays: list[Any]) -> int:
    return sum(array.size * array.dtype.itemsize for array in arrays)
