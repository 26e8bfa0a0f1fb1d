"""Accepting connections, and telling by their first octets what they speak."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodns.server import accept

LIMIT = 10.0  # seconds that anything here may take


@given(st.binary(min_size=1, max_size=12))
@settings(deadline=None)
def test_a_beginning_is_judged_as_the_whole_is(octets: bytes) -> None:
    """More octets never turn a verdict round, and any ten are enough for one."""
    verdicts = [accept.starts_http(octets[:size]) for size in range(1, len(octets) + 1)]
    told = [verdict for verdict in verdicts if verdict is not None]
    assert len(set(told)) <= 1 and verdicts == [None] * (len(verdicts) - len(told)) + told
    assert told or len(octets) < 10
    assert accept.starts_http(b"GET /"[: len(octets)]) is (True if len(octets) >= 4 else None)


class FullListener(socket.socket):
    """A listening socket of a process that has no file left, until it is told otherwise."""

    full = True
    tries = 0

    def accept(self) -> Any:
        self.tries += 1
        if self.full:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super().accept()


def test_without_files_we_pause_and_go_on(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(accept, "PAUSE", 0.05)

    async def accept_one() -> tuple[socket.socket, int]:
        loop = asyncio.get_running_loop()
        accepted: asyncio.Future[socket.socket] = loop.create_future()
        with FullListener() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            listening.setblocking(False)
            listener = accept.Listener(listening, accepted.set_result)
            listener.resume()
            loop.call_later(0.12, setattr, listening, "full", False)
            with socket.create_connection(listening.getsockname()):
                connection = await asyncio.wait_for(accepted, LIMIT)
            listener.close()
            return connection, listening.tries

    connection, tries = asyncio.run(accept_one())
    assert not connection.getblocking()
    connection.close()
    assert 3 <= tries <= 6, "one try a pause, not a busy loop; the last reading finds nothing more"
    assert len(caplog.records) <= 3 and "Too many open files" in caplog.records[0].getMessage()


def test_what_is_closed_while_it_pauses_stays_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept, "PAUSE", 0.02)

    async def close_early() -> int:
        with FullListener() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            listening.setblocking(False)
            listener = accept.Listener(listening, socket.socket.close)
            listener.resume()
            with socket.create_connection(listening.getsockname()):
                async with asyncio.timeout(LIMIT):
                    while not listening.tries:
                        await asyncio.sleep(0)
                listener.close()
                await asyncio.sleep(3 * accept.PAUSE)
            return listening.tries

    assert asyncio.run(close_early()) == 1
