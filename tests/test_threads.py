"""Threads of work: the short switch interval is there while any is at work, and gone after the last."""

from __future__ import annotations

import asyncio
import sys
import threading

import pytest

from geodns.threads import SWITCH_INTERVAL, in_thread


def test_the_interval_is_short_until_the_last_has_ended() -> None:
    usual = sys.getswitchinterval()
    gates = [threading.Event() for _ in range(3)]

    async def work() -> list[float]:
        tasks = [asyncio.create_task(in_thread(gate.wait, timeout=10)) for gate in gates]
        seen = []
        await asyncio.sleep(0)
        for gate, task in zip(gates, tasks, strict=True):
            seen.append(sys.getswitchinterval())
            gate.set()
            assert await task
        return seen

    assert asyncio.run(work()) == pytest.approx([SWITCH_INTERVAL] * 3)
    assert sys.getswitchinterval() == pytest.approx(usual)


def test_what_fails_restores_it_too() -> None:
    usual = sys.getswitchinterval()
    with pytest.raises(ZeroDivisionError):
        asyncio.run(in_thread(lambda: 1 // 0))
    assert sys.getswitchinterval() == pytest.approx(usual)
    assert asyncio.run(in_thread(divmod, 7, 2)) == (3, 1)
