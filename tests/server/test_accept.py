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
    """A listening socket of a process that has no file left, for a while."""

    failures = 2

    def accept(self) -> Any:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super().accept()


def test_without_files_we_pause_and_go_on(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(accept, "PAUSE", 0.05)

    async def accept_one() -> socket.socket:
        loop = asyncio.get_running_loop()
        accepted: asyncio.Future[socket.socket] = loop.create_future()
        with FullListener() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            listening.setblocking(False)
            listener = accept.Listener(listening, accepted.set_result)
            listener.resume()
            with socket.create_connection(listening.getsockname()):
                connection = await asyncio.wait_for(accepted, LIMIT)
            listener.close()
            return connection

    connection = asyncio.run(accept_one())
    assert not connection.getblocking()
    connection.close()
    assert len(caplog.records) == 2 and "Too many open files" in caplog.records[0].getMessage()
