"""Accepting connections by hand, where a listener must be able to pause, and a first look must say what a client speaks.

Knows listening sockets, the limit of open files, and what the first octets of HTTP are. Knows nothing of what follows them.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

ACCEPTS = 32  # connections accepted at once
PAUSE = 1.0  # seconds without accepting, after the kernel had no file left for us
GLANCE = 0.01  # seconds between two looks at a client that has sent less than it takes to tell
METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"TRACE ", b"CONNECT ")
LONGEST = max(map(len, METHODS))

_log = logging.getLogger(__name__)


class Listener:
    """One listening socket, and where its connections go: *welcome* owns what it is given (not blocking)."""

    def __init__(self, listening: socket.socket, welcome: Callable[[socket.socket], None]) -> None:
        self._listening, self._welcome = listening, welcome
        self._loop = asyncio.get_running_loop()
        self._again: asyncio.TimerHandle | None = None

    def resume(self) -> None:
        """Accept from now on; who connected earlier is waiting in the kernel."""
        self._loop.add_reader(self._listening.fileno(), self._accept)

    def pause(self) -> None:
        """Accept nothing, and leave the socket open: clients wait, until we or whoever else has it goes on."""
        if self._again is not None:
            self._again.cancel()
        self._loop.remove_reader(self._listening.fileno())

    def close(self) -> None:
        if self._listening.fileno() >= 0:
            self.pause()
            self._listening.close()

    def _accept(self) -> None:
        for _ in range(ACCEPTS):
            try:
                connection, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # too many open files, most likely: trying again at once would be a busy loop
                _log.error(
                    "%s: no connection is accepted for %g s: %s", self._listening.getsockname(), PAUSE, error.strerror
                )
                self.pause()
                self._again = self._loop.call_later(PAUSE, self.resume)
                return
            connection.setblocking(False)
            self._welcome(connection)


async def peek(connection: socket.socket, patience: float) -> bytes:
    """The first octets of *connection*, as many as it takes to tell whether they are HTTP; they stay unread.

    Empty for a client that has gone. Raises TimeoutError after *patience* seconds, OSError.
    """
    async with asyncio.timeout(patience):
        while True:
            await _readable(connection)
            first = connection.recv(LONGEST, socket.MSG_PEEK)
            if not first or starts_http(first) is not None:
                return first
            await asyncio.sleep(GLANCE)  # what is there stays readable: waiting for that alone would be a busy loop


def starts_http(first: bytes) -> bool | None:
    """Do these octets begin a request of HTTP? None: too few to tell."""
    if first.startswith(METHODS):
        return True
    return None if any(method.startswith(first) for method in METHODS) else False


async def _readable(connection: socket.socket) -> None:
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(connection.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(connection.fileno())
