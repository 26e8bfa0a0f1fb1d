"""Regular expressions over what strangers send, bounded in time.

Knows the process that searches, and that it dies of a search that takes too long: the engine of the standard library can
neither be stopped nor leave others a turn. Knows nothing of bodies.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

from .matcher import FOUND, SIZES

MOST_SECONDS = 0.1  # of processor time, one search
PROGRAM = Path(__file__).with_name("matcher.py")


class TooSlow(Exception):
    """A search took too long."""


class Patterns:
    """One searching process, started when it is first needed and after each search that killed it."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None

    async def search(self, pattern: str, text: bytes) -> bool:
        """Is *pattern* somewhere in *text*, read as UTF-8? Raises TooSlow; one search at a time, the others wait."""
        wanted = pattern.encode()
        loop = asyncio.get_running_loop()
        async with self._turn:
            if self._process is not None and self._process.poll() is not None:
                self.close()  # somebody else ended it
            line = self._line or self._start()
            try:
                await loop.sock_sendall(line, SIZES.pack(len(wanted), len(text)) + wanted + text)
                reply = await loop.sock_recv(line, 1)
            except BaseException:  # its reply would be taken for the next one's
                self.close()
                raise
            if not reply:
                self.close()
                raise TooSlow
            return reply == FOUND

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  (our own program; what it is sent is no command)
                [sys.executable, "-I", "-S", str(PROGRAM), str(MOST_SECONDS)],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
            )
        ours.setblocking(False)
        self._line = ours
        return ours

    def close(self) -> None:
        """End the process; a later search starts another."""
        if self._line is not None:
            self._line.close()
            self._line = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()  # it only computes, and so is gone at once
            self._process = None
