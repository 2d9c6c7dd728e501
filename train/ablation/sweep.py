"""One trained network at many numbers of EM iterations, compiled once."""

from typing import Any, cast

import jax.numpy as jnp
from jax import Array

from ema_jax import EMAU, Segmenter
from ema_jax.heads import ContextHead
from train.errors import UserError

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
        if not isinstance(getattr(model.head, "context", None), EMAU):
            raise UserError(
                "config.eval_iters is for networks with EM attention; "
                "this one has none: leave it empty, ()"
            )
        self.model, self.backbone = model, model.backbone

    def apply(self, variables: dict[str, Any], images: Array, **options: Any) -> Array:
        """The logits, with the iterations of `at`."""
        others = {name: value for name, value in variables.items() if name != ITERS}
        head = cast(ContextHead, self.model.head)
        unit = cast(EMAU, head.context).clone(eval_iters=variables[ITERS])
        model = self.model.clone(head=head.clone(context=unit))
        return cast(Array, model.apply(others, images, **options))

    @staticmethod
    def at(variables: dict[str, Any], eval_iters: int) -> dict[str, Any]:
        """Variables that ask for a number of iterations."""
        return {**variables, ITERS: jnp.int32(eval_iters)}
