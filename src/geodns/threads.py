"""Work in a thread that leaves the main thread its queries.

Knows the interpreter's switch interval, which all threads share. Knows nothing of the work.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from functools import partial
from typing import TypeVar

SWITCH_INTERVAL = 0.0005  # seconds: how long such a thread may keep the main thread from a query; 5 ms otherwise

T = TypeVar("T")


class _Interval:
    """The switch interval while threads are at work, and the one before."""

    def __init__(self) -> None:
        self.at_work, self.usual = 0, 0.0

    def shorten(self) -> None:
        if not self.at_work:
            self.usual = sys.getswitchinterval()
            sys.setswitchinterval(SWITCH_INTERVAL)
        self.at_work += 1

    def restore(self) -> None:
        self.at_work -= 1
        if not self.at_work:
            sys.setswitchinterval(self.usual)


_interval = _Interval()


async def in_thread(work: Callable[..., T], *arguments: object, **named: object) -> T:
    """What *work* returns, done in a thread of the loop's executor. Several at a time share the short interval.

    Only the thread that runs the loop may call this: nothing is locked. Who is cancelled leaves the thread to its end.
    """
    _interval.shorten()
    try:
        return await asyncio.get_running_loop().run_in_executor(None, partial(work, *arguments, **named))
    finally:
        _interval.restore()
