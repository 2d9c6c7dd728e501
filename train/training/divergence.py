"""What to do where a loss or an update is not finite."""

import math
from collections.abc import Callable, Sequence

from train.update.state import TrainState, all_finite
from train.update.step import StepMetrics
from train.user.errors import UserError


class Divergence:
    """Stops the training, or counts the updates that the step has skipped.

    Args:
        skips: the step leaves out such updates (`config.non_finite="skip"`).
        ceiling: so many in a row stop the training all the same.
        advice: the end of the error: what to change.
        steps: of the checkpoints that are kept.
        say: writes a line of the log.
    """

    def __init__(
        self,
        *,
        skips: bool,
        ceiling: int,
        advice: str,
        steps: Callable[[], Sequence[int]],
        say: Callable[[str], None],
    ):
        self.skips, self.ceiling, self.advice = skips, ceiling, advice
        self._steps, self._say = steps, say
        self.skipped = 0
        self.in_a_row = 0

    def check(self, step: int, metrics: StepMetrics) -> None:
        """Look at the figures of a step, once.

        Raises:
            UserError: they are not finite, or too many in a row were not.
        """
        loss, norm = float(metrics.loss), float(metrics.gradient_norm)
        skipped = bool(metrics.skipped)
        if math.isfinite(loss) and math.isfinite(norm) and not skipped:
            self.in_a_row = 0
            return
        what = f"step {step}: the loss is {loss}, the gradient norm {norm}"
        if not self.skips:
            raise self.error(what)
        self.skipped += 1
        self.in_a_row += 1
        if self.in_a_row >= self.ceiling:
            raise self.error(f"{what}; {self.in_a_row} updates in a row are not finite")
        self._say(f"{what}; the update is skipped, {self.skipped} so far")

    def check_state(self, state: TrainState) -> None:
        """Raise a UserError unless every number of the state is finite.

        The loss of a step is that of the parameters before it, and tells too little.
        """
        if not all_finite(state):
            raise self.error(f"step {int(state.step)}: the update is not finite")

    def error(self, what: str) -> UserError:
        """The error that says what is kept, and what to change."""
        steps = self._steps()
        kept = f"the checkpoint of step {steps[-1]} is kept" if steps else "none kept"
        return UserError(f"{what}; {kept} in {self.advice}")
