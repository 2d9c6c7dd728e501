"""Calls taken in turn, so that what else a machine does falls on all of them alike."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

Calls = Mapping[str, Callable[[], object]]


class Times(NamedTuple):
    """Milliseconds of a call."""

    minimum: float
    median: float


def interleaved(calls: Calls, runs: int = 9) -> dict[str, Times]:
    """The times of each call, over rounds in which each has its turn.

    In its turn it is called twice, and the second time counts: an update comes after
    another one, and finds the memory as that left it. A round before, which compiles,
    does not count.

    Args:
        calls: that return when their work is done.
        runs: rounds that count.
    """
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for run in range(1 + runs):
        for name, call in calls.items():
            call()
            start = time.perf_counter()
            call()
            if run:
                taken[name].append(1e3 * (time.perf_counter() - start))
    return {
        name: Times(float(np.min(times)), float(np.median(times)))
        for name, times in taken.items()
    }


HEADER = """\
| work | ours | best peer | minimum | median | peer / ours | of medians |
|---|---|---|---:|---:|---:|---:|"""


def row(work: str, found: Mapping[str, Times], ours: Iterable[str]) -> str:
    """A line of a table: our best, the best peer, both in ms, and how they compare."""
    own = {name: found[name] for name in ours}
    peers = {name: times for name, times in found.items() if name not in own}
    mine, best = min(own, key=own.get), min(peers, key=peers.get)  # type: ignore[arg-type]
    our, their = own[mine], peers[best]
    fastest = min(times.median for times in peers.values())
    return (
        f"| {work} | {mine} | {best} | {our.minimum:.1f} against {their.minimum:.1f} | "
        f"{our.median:.1f} against {fastest:.1f} | {their.minimum / our.minimum:.2f} | "
        f"{fastest / our.median:.2f} |"
    )
