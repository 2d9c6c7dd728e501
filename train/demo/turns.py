"""One thing at a time, first come, first served."""

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request

MAX_WAITING = 64
"""Requests; the next one is told to come again."""
GONE = 499
"""The status of an answer that nobody waits for any more."""


class Queue:
    """Runs functions in a thread, one after the other.

    Attributes:
        waiting: requests that wait, or are being answered.
    """

    def __init__(self, room: int = MAX_WAITING):
        self.waiting = 0
        self._room, self._turn = room, asyncio.Lock()

    async def run(self, request: Request, function: Callable[..., Any], *given: Any):
        """`function(*given)` when it is its turn, if its client still waits then.

        Raises:
            HTTPException: too many wait, or the client went away.
        """
        if self.waiting >= self._room:
            raise HTTPException(503, "too many are waiting; try again in a minute")
        self.waiting += 1
        try:
            async with self._turn:
                if await request.is_disconnected():
                    raise HTTPException(GONE, "the client went away")
                return await run_in_threadpool(function, *given)
        finally:
            self.waiting -= 1
