"""Work in slices: it pauses when a slice was long, comes to the same as at once, and is never left half done."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import pytest

from geodns.pacing import FEW, MOST, SLICE, Slices
from geodns.slices import at_once


def in_slices(work: Generator[None, None, Any], *, whole: bool = False) -> Coroutine[None, None, Any]:
    return Slices().run(work, whole=whole)


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
            return str(await in_slices(busy(10, [])))
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
        task = asyncio.create_task(in_slices(busy(6, done), whole=True))
        while not done:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(work())
    assert done == [0, 1, 2, 3, 4, 5]


def test_what_is_cancelled_and_need_not_be_whole_ends_there() -> None:
    done: list[int] = []

    async def work() -> None:
        task = asyncio.create_task(in_slices(busy(1000, done)))
        while not done:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(work())
    assert len(done) < 1000


def find_pauses(*, answering: bool, waiting: Callable[[], int] = lambda: 0) -> list[float]:
    """Seconds between two slices, each as a multiple of the one before."""
    times: list[tuple[float, float]] = []

    def take_time() -> Generator[None, None, str]:
        for _ in range(10):
            began = time.monotonic()
            while time.monotonic() < began + 2 * SLICE:
                pass
            times.append((began, time.monotonic()))
            yield
        return "done"

    slices = Slices()
    slices.answering, slices.waiting = answering, waiting
    assert asyncio.run(slices.run(take_time())) == "done"
    return [(later[0] - earlier[1]) / (earlier[1] - earlier[0]) for earlier, later in itertools.pairwise(times)]


def test_queries_have_two_thirds_of_the_time() -> None:
    """Half of what we can answer may be asked meanwhile: with half of the time a queue would not go down again."""
    assert min(find_pauses(answering=True)) > 1.9


def test_who_is_not_answering_yet_does_not_pause() -> None:
    assert sorted(find_pauses(answering=False))[5] < 0.5


def test_while_many_queries_wait_there_is_no_slice() -> None:
    """But not for ever: where more is asked than we can answer, a reload must come to its end too."""
    looks: list[int] = []

    def drain() -> int:
        looks.append(FEW + 1 if len(looks) % 51 < 50 else FEW)
        return looks[-1]

    find_pauses(answering=True, waiting=drain)
    assert len(looks) == 10 * 51, "each rest ends with the first look that finds few"
    assert min(find_pauses(answering=True, waiting=lambda: FEW + 1)) > MOST - 0.5


def test_at_once_comes_to_the_same_and_raises_what_the_work_raises() -> None:
    def wrong() -> Generator[None, None, None]:
        yield
        raise ValueError("no")

    assert at_once(busy(3, [], 0.0)) == "done"
    with pytest.raises(ValueError, match="no"):
        at_once(wrong())
    with pytest.raises(ValueError, match="no"):
        asyncio.run(in_slices(wrong()))
