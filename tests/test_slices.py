"""Work in slices: it pauses when a slice was long, comes to the same as at once, and is never left half done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator

import pytest

from geodns.slices import SLICE, at_once, in_slices


def busy(steps: int, done: list[int], seconds: float = SLICE) -> Generator[None, None, str]:
    for number in range(steps):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            pass
        done.append(number)
        yield
    return "done"


def test_others_have_their_turns_between_long_slices() -> None:
    turns = 0

    async def work() -> str:
        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        try:
            return await in_slices(busy(10, []))
        finally:
            counting.cancel()

    assert asyncio.run(work()) == "done"
    assert turns >= 10


def test_short_slices_do_not_pause() -> None:
    async def work() -> int:
        turns = 0

        def count() -> None:
            nonlocal turns
            turns += 1

        asyncio.get_running_loop().call_soon(count)
        await in_slices(busy(3, [], 0.0))
        return turns

    assert asyncio.run(work()) == 0


def test_what_is_cancelled_is_done_all_the_same() -> None:
    done: list[int] = []

    async def work() -> None:
        task = asyncio.create_task(in_slices(busy(6, done)))
        while not done:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(work())
    assert done == [0, 1, 2, 3, 4, 5]


def test_at_once_comes_to_the_same_and_raises_what_the_work_raises() -> None:
    def wrong() -> Generator[None, None, None]:
        yield
        raise ValueError("no")

    assert at_once(busy(3, [], 0.0)) == "done"
    with pytest.raises(ValueError, match="no"):
        at_once(wrong())
    with pytest.raises(ValueError, match="no"):
        asyncio.run(in_slices(wrong()))
