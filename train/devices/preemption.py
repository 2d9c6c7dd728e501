"""SIGTERM: the machine is taken away, or the job's time is over."""

import contextlib
import signal
from types import FrameType, TracebackType

import jax
from jax.experimental import multihost_utils


class Preemption:
    """Whether SIGTERM, on any process, has asked the training to stop.

    As a context, it takes the signal of a process on its own. Where there are several,
    JAX's coordination service takes it, and names the call of `reached` at which all
    of them stop: each must call it as often as the others.
    """

    def __init__(self) -> None:
        self._asked = False
        self._calls = 0
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Preemption":
        if jax.process_count() == 1:
            with contextlib.suppress(ValueError):  # outside the main thread
                before = signal.signal(signal.SIGTERM, self._ask)
                self._stack.callback(signal.signal, signal.SIGTERM, before)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked = True

    def reached(self) -> bool:
        """Whether all processes stop here."""
        if jax.process_count() == 1:
            return self._asked
        self._calls += 1
        return bool(multihost_utils.reached_preemption_sync_point(self._calls))
