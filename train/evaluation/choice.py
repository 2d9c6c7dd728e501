"""Which state of a training is best, and how long none was better."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from train.evaluation.metrics import Scores, mean_of
from train.user.errors import UserError
from train.user.names import nearest

Merit = Callable[[Scores], float]
"""The figure by which states are compared: the higher, the better."""


class Patience(NamedTuple):
    """How the evaluations of a training went so far.

    Attributes:
        best: the highest merit; None before there was one.
        without_gain: evaluations since then.
    """

    best: float | None = None
    without_gain: int = 0

    def after(self, merit: float) -> "Patience":
        """With one more evaluation.

        Example:
            >>> Patience(best=0.5).after(0.4).after(0.5)
            Patience(best=0.5, without_gain=2)
        """
        if math.isfinite(merit) and (self.best is None or merit > self.best):
            return Patience(merit)
        return self._replace(without_gain=self.without_gain + 1)

    def is_over(self, early_stop: int | None) -> bool:
        """Whether there were `early_stop` evaluations without gain; None: never."""
        return early_stop is not None and self.without_gain >= early_stop


FRESH = Patience()
"""Of a training that begins."""


def make_merit(best: str | Sequence[str] | None, names: Sequence[str]) -> Merit:
    """The figure that `config.checkpoint.best` asks for, of classes with these names.

    Args:
        best: None, the mean IoU; "loss", the loss with its sign turned; or names of
            classes, the mean of whose IoU counts.
        names: of all classes.

    Raises:
        UserError: there is no class of such a name.
    """
    if best is None:
        return lambda scores: scores.mean_iou
    if best == "loss":
        return lambda scores: -scores.loss
    chosen = []
    for name in best:
        if name not in names:
            raise UserError(
                f"config.checkpoint.best={best!r}: {name!r} is no class; "
                f"{nearest(name, names)}"
            )
        chosen.append(names.index(name))
    return lambda scores: mean_of(scores.iou[chosen])
