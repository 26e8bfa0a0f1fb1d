"""Lines over a Unix socket, and open files that come with them.

Knows messages with SCM_RIGHTS (unix(7)), and how long to wait for the other side. Knows nothing of what the lines say.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

PATIENCE = 5.0  # seconds that one side waits for the other's next line
LONGEST_LINE = 1 << 20  # octets; a hundred for each of ten thousand sockets
READ_SIZE = 1 << 16  # octets read at once
AT_ONCE = 64  # descriptors in one message; the kernel takes at most 253 (SCM_MAX_FD)
INT = array("i").itemsize
SPACE = socket.CMSG_SPACE(AT_ONCE * INT)
MOST_DESCRIPTORS = 1 << 14  # that are kept for whoever takes them out
CREDENTIALS = struct.Struct("=iII")  # struct ucred: pid, uid, gid


class ChannelError(Exception):
    """The other side broke the rules, took too long, or went away."""


@dataclass(slots=True)
class Channel:
    """One connection, which does not block. It owns the socket and the descriptors that nobody has taken out."""

    connection: socket.socket
    begun: bytes = b""  # of the next line
    descriptors: list[int] = field(default_factory=list)  # received, in order; whoever takes one out owns it

    def peer(self) -> tuple[int, int]:
        """(pid, user) of the process that connected to us; where we connected, of the one that began to listen."""
        octets = self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        pid, user, _ = CREDENTIALS.unpack(octets)
        return pid, user

    async def send(self, line: str, descriptors: Sequence[int] = ()) -> None:
        """One line with *descriptors*. Raises ChannelError after `PATIENCE`, OSError."""
        loop, octets = asyncio.get_running_loop(), line.encode() + b"\n"
        while octets:
            try:
                sent = self.connection.sendmsg([octets], _pack(descriptors))
            except BlockingIOError:
                await self._wait(PATIENCE, loop.add_writer, loop.remove_writer)
                continue
            octets, descriptors = octets[sent:], ()

    async def read_line(self, patience: float = PATIENCE, at_end: bytes | None = None) -> bytes:
        """The next line without its end, or *at_end* when the other side has closed.

        Raises ChannelError after *patience* seconds without a word, OSError.
        """
        loop = asyncio.get_running_loop()
        while b"\n" not in self.begun:
            try:
                octets = self._receive()
            except BlockingIOError:
                await self._wait(patience, loop.add_reader, loop.remove_reader)
                continue
            if not octets:
                if at_end is not None:
                    return at_end
                raise ChannelError("the other side went away")
            self.begun += octets
            if len(self.begun) > LONGEST_LINE:
                raise ChannelError("the other side sends a line without end")
        line, _, self.begun = self.begun.partition(b"\n")
        return line

    def _receive(self) -> bytes:
        """What has arrived; nothing at the end. Raises ChannelError, BlockingIOError and other OSErrors."""
        try:
            octets, ancillary, flags, _ = self.connection.recvmsg(READ_SIZE, SPACE, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:  # closed, and something that we had sent was unread
            return b""
        for level, kind, packed in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self.descriptors += array("i", packed[: len(packed) - len(packed) % INT])
        if flags & socket.MSG_CTRUNC or len(self.descriptors) > MOST_DESCRIPTORS:
            raise ChannelError("not all descriptors could be received (ulimit -n)")
        return octets

    async def _wait(self, patience: float, watch: Callable[..., object], unwatch: Callable[..., object]) -> None:
        """Until the connection can be read or written. Raises ChannelError."""
        ready = asyncio.Event()
        watch(self.connection, ready.set)
        try:
            async with asyncio.timeout(patience):
                await ready.wait()
        except TimeoutError:
            raise ChannelError(f"the other side said nothing for {patience:g} s") from None
        finally:
            unwatch(self.connection)

    def close(self) -> None:
        """Close the connection, and every descriptor that nobody took out."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors.clear()
        self.connection.close()


def _pack(descriptors: Sequence[int]) -> list[tuple[int, int, bytes]]:
    """Ancillary data that carry *descriptors*."""
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors).tobytes())] if descriptors else []
