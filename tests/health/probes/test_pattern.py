"""Searches in a process of its own: as the engine would, and never for long."""

from __future__ import annotations

import asyncio
import os
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodns.health.probes.pattern import MOST_SECONDS, Patterns, TooSlow

PATTERNS = st.sampled_from(
    ["a", "^a", "b$", "a.c", "(a|b)+c", "[^a]", r"\s", "", "ä", "(?i)A", "(?s)a.b", "a{2,3}", "(a)?b\\1"]
)
TEXTS = st.lists(st.tuples(PATTERNS, st.text("abcäA \n", max_size=20)), min_size=1, max_size=30)


@settings(deadline=None, max_examples=20)
@given(TEXTS)
def test_always_what_the_engine_says(cases: list[tuple[str, str]]) -> None:
    async def run() -> list[bool]:
        patterns = Patterns()
        try:
            return [await patterns.search(pattern, text.encode()) for pattern, text in cases]
        finally:
            patterns.close()

    assert asyncio.run(run()) == [re.search(pattern, text) is not None for pattern, text in cases]


def test_octets_that_are_no_text_are_searched_too() -> None:
    async def run() -> tuple[bool, bool]:
        patterns = Patterns()
        found = await patterns.search("ok", b"\xff\0\xfeok"), await patterns.search("^ok", b"\xff\0ok")
        patterns.close()
        return found

    assert asyncio.run(run()) == (True, False)


@pytest.mark.parametrize("pattern", ["^(a+)+$", "(a*)*b", "(.*.*)*x", "a*b"])
def test_never_longer_than_it_may(pattern: str) -> None:
    """And the next one is searched as if nothing had been; meanwhile the loop has its turns."""

    async def run() -> tuple[float, int, bool]:
        patterns, turns = Patterns(), 0
        began = time.process_time() + time.monotonic()
        search = asyncio.create_task(patterns.search(pattern, b"a" * 65535 + b"!"))
        while not search.done():
            await asyncio.sleep(0.005)
            turns += 1
        with pytest.raises(TooSlow):
            await search
        seconds = time.process_time() + time.monotonic() - began
        found = await patterns.search("a!", b"a!")
        patterns.close()
        return seconds, turns, found

    seconds, turns, found = asyncio.run(run())
    assert MOST_SECONDS / 2 < seconds < 5 and turns > 3 and found


def test_who_leaves_takes_the_reply_along() -> None:
    """A cancelled search, and those behind it: each gets its own reply."""

    async def run() -> list[bool]:
        patterns = Patterns()
        slow = asyncio.create_task(patterns.search("^(a+)+$", b"a" * 50 + b"!"))
        behind = [asyncio.create_task(patterns.search(text, b"abc")) for text in ("a", "x", "c")]
        await asyncio.sleep(0.02)
        slow.cancel()
        found = await asyncio.gather(*behind)
        assert slow.cancelled()
        patterns.close()
        return found

    assert asyncio.run(run()) == [True, False, True]


def test_a_process_that_somebody_killed_is_started_again() -> None:
    async def run() -> bool:
        patterns = Patterns()
        await patterns.search("a", b"a")
        assert patterns._process is not None
        patterns._process.kill()
        os.waitid(os.P_PID, patterns._process.pid, os.WEXITED | os.WNOWAIT)
        found = await patterns.search("a", b"a")
        patterns.close()
        return found

    assert asyncio.run(run())


def test_no_process_is_left() -> None:
    async def run() -> int:
        patterns = Patterns()
        await patterns.search("a", b"a")
        assert patterns._process is not None
        pid = patterns._process.pid
        patterns.close()
        patterns.close()
        return pid

    with pytest.raises(ChildProcessError):
        os.waitpid(asyncio.run(run()), os.WNOHANG)
