"""Long work in the main thread, cut into slices: a generator that pauses after every few.

Knows how such work is run to its end, at once or with time for queries between the slices. Knows nothing of the work.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from typing import TypeVar

SLICE = 0.002  # seconds of work between two looks at the sockets

T = TypeVar("T")


def at_once(work: Generator[None, None, T]) -> T:
    """What *work* comes to, without its pauses."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            found: T = end.value
            return found


async def in_slices(work: Generator[None, None, T]) -> T:
    """What *work* comes to; after each slice queries have as much time as it took.

    Who is cancelled meanwhile leaves nothing half done: the rest is done at once.
    """
    try:
        began = time.monotonic()
        while True:
            try:
                next(work)
            except StopIteration as end:
                found: T = end.value
                return found
            if (took := time.monotonic() - began) > SLICE:
                await asyncio.sleep(took)
                began = time.monotonic()
    except asyncio.CancelledError:
        at_once(work)
        raise
