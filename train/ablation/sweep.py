"""One trained network at many numbers of EM iterations, compiled once."""

from typing import Any, cast

import jax.numpy as jnp
from jax import Array

from ema_jax import Segmenter
from ema_jax.networks import find_em_unit, with_eval_iters
from train.user.errors import UserError

ITERS = "eval_iters"


class IterationSweep:
    """A network whose `eval_iters` comes with its variables.

    As the number is an argument of the compiled program, not a constant of it, all
    numbers share one program for each canvas. Takes the place of a `Segmenter` in
    evaluation.
    """

    def __init__(self, model: Segmenter):
        """Wrap a model.

        Raises:
            UserError: a model without EM attention.
        """
        if find_em_unit(model) is None:
            raise UserError(
                "config.eval_iters is for networks with EM attention; "
                "this one has none: leave it empty, ()"
            )
        self.model, self.backbone = model, model.backbone

    def apply(self, variables: dict[str, Any], images: Array, **options: Any) -> Array:
        """The logits, with the iterations of `at`."""
        others = {name: value for name, value in variables.items() if name != ITERS}
        model = with_eval_iters(self.model, variables[ITERS])
        return cast(Array, model.apply(others, images, **options))

    @staticmethod
    def at(variables: dict[str, Any], eval_iters: int) -> dict[str, Any]:
        """Variables that ask for a number of iterations."""
        return {**variables, ITERS: jnp.int32(eval_iters)}
