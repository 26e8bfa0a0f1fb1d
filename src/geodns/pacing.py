"""Long work in the main thread, slice by slice, with time for queries between them.

Knows how much time that is. Knows nothing of the work, nor of sockets but how much waits in them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from typing import TypeVar

from .slices import at_once

SLICE = 0.002  # seconds of work between two looks at the sockets
SHARE = 2  # times as long as a slice have queries after it: half of what we can answer may be asked, and queues go down
FEW = 1 << 15  # octets that may wait in the sockets when the next slice begins: some forty queries, as the kernel counts
MOST = 20  # times as long as a slice is waited for that, at most: more may be asked than we can answer

T = TypeVar("T")


class Slices:
    """Runs work in slices and lets queries in between, once there are any.

    `waiting` tells how many octets of queries wait in the sockets.
    """

    def __init__(self) -> None:
        self.answering = False  # queries are answered meanwhile
        self.waiting: Callable[[], int] = lambda: 0

    async def run(self, work: Generator[None, None, T], *, whole: bool = False) -> T:
        """What *work* comes to. *whole*: who is cancelled meanwhile leaves nothing half done; the rest is done at once."""
        try:
            began = time.monotonic()
            while True:
                try:
                    next(work)
                except StopIteration as end:
                    found: T = end.value
                    return found
                if (took := time.monotonic() - began) > SLICE:
                    await (self._rest(took) if self.answering else asyncio.sleep(0))
                    began = time.monotonic()
        except asyncio.CancelledError:
            if whole:
                at_once(work)
            raise

    async def _rest(self, took: float) -> None:
        """Give queries `SHARE` times what a slice *took*, and until few wait, lest their queue grow from slice to slice."""
        began = time.monotonic()
        await asyncio.sleep(SHARE * took)
        while self.waiting() > FEW and time.monotonic() < began + MOST * took:
            await asyncio.sleep(0)
