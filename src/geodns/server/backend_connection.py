"""One connection of PowerDNS: read, answered and written by itself.

Knows which protocol it speaks, and the bounds of what it may have unfinished. Knows nothing of what a line says
(`pdns_pipe`, `pdns_remote`), nor of other connections. There is no asyncio transport: PowerDNS waits for each answer before
it asks again, so what a question costs is what its caller waits.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Protocol

from .. import metrics
from ..metrics import PIPE, REMOTE
from ..wire.lines import Lines
from .backend_heirloom import MARK, receive, send_connection
from .failure import Failures
from .pdns_answer import Lookup
from .pdns_lookup import count
from .pdns_pipe import PipeSession
from .pdns_remote import RemoteSession

PORTION = 64  # lines of one connection that are answered before others have their turn
READ_SIZE = 1 << 14  # octets read at once
UNSENT_LIMIT = 1 << 16  # octets of replies that may wait for a client; one more reply may come on top
WAIT = 0.05  # seconds until a reply that has nothing to say yet is asked again
SHOWN = 512  # octets of a line that stand in the log when we failed on it
FIRST_OF_JSON = b"{"
NEW = -1  # in place of a protocol's number: it has said nothing yet

Session = PipeSession | RemoteSession


class Owner(Protocol):
    """What a connection needs of the server that it belongs to."""

    failures: Failures
    lookups: tuple[Lookup, ...]  # by the numbers of `metrics.BACKEND_PROTOCOLS`
    unread: float  # seconds that replies may wait for the client

    def touch(self, connection: Connection) -> None:
        """*connection* has asked something."""

    def forget(self, connection: Connection) -> None:
        """*connection* is closed."""

    def adopt(self, octets: bytes, sockets: Sequence[socket.socket]) -> None:
        """*sockets* are connections that a predecessor hands to us; *octets* say what is known of them."""


class Connection:
    """One client: at most one unfinished line, one reading of whole ones, and a bounded lot of replies."""

    def __init__(self, server: Owner, accepted: socket.socket, session: Session | None = None) -> None:
        self._server, self._socket = server, accepted
        self._lines = Lines()
        self._session = session  # None before it says something
        self._waiting: deque[bytes | None] = deque()  # lines that are not answered yet
        self._rest: Iterator[bytes] | None = None  # of a reply that comes in pieces
        self._unsent = bytearray()
        self._ended = False  # the client sends no more
        self._next: asyncio.TimerHandle | None = None  # more is to be done, at the next turn or after a while
        self._patience: asyncio.TimerHandle | None = None  # while replies wait for the client
        self._loop = asyncio.get_running_loop()
        self._reading = False
        self._resume_reading()

    @property
    def protocol(self) -> int:
        """Its number in `metrics.BACKEND_PROTOCOLS`; `NEW` before it has said anything."""
        return NEW if self._session is None else REMOTE if isinstance(self._session, RemoteSession) else PIPE

    def hand_over(self, path: str) -> None:
        """Give this connection to whoever listens at *path*, and close our end; not while something of it is unfinished."""
        if not self._reading or self._lines.begun:
            return
        label = metrics.BACKEND_PROTOCOLS[self.protocol] if self._session is not None else "new"
        about = f"{label} {self._session.abi}" if isinstance(self._session, PipeSession) else label
        if send_connection(path, self._socket, about):
            self.close()

    def finish(self) -> None:
        """Answer what has arrived, as far as the client takes it at once, and close."""
        if self._reading:
            self._read()
        while self._socket.fileno() >= 0 and self._waiting and not self._unsent and self._rest is None:
            self._answer_portion()
        self.close()

    def close(self) -> None:
        """Close, now; once."""
        if self._socket.fileno() < 0:
            return
        self._pause_reading()
        self._loop.remove_writer(self._socket.fileno())
        for timer in (self._next, self._patience):
            if timer is not None:
                timer.cancel()
        self._socket.close()
        self._waiting.clear()
        self._server.forget(self)

    def _read(self) -> None:
        try:
            if self._session is None:
                octets, sockets = receive(self._socket, READ_SIZE)
            else:
                octets, sockets = self._socket.recv(READ_SIZE), []
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        if not octets:
            self._ended = True  # half a line is no question
            self._pause_reading()
            self._go_on()
            return
        if sockets or octets.startswith(MARK):
            self._server.adopt(octets, sockets)
            self.close()  # it was only the carrier
            return
        if self._session is None:
            self._session = self._recognise(octets)
        self._waiting.extend(self._lines.feed(octets))
        self._answer_waiting()

    def _recognise(self, octets: bytes) -> Session:
        """A JSON object begins with a brace, and no line of the pipe protocol does."""
        lookups = self._server.lookups
        return RemoteSession(lookups[REMOTE]) if octets.startswith(FIRST_OF_JSON) else PipeSession(lookups[PIPE])

    def _answer_waiting(self) -> None:
        """Answer a portion of what waits, and see to the rest."""
        self._next = None
        try:
            pause = not self._answer_portion()
        except Exception:  # in the middle of a reply, of which some has been sent
            count(metrics.INTERNAL_ERRORS)
            self._server.failures.tell(b"")
            self.close()
        if self._socket.fileno() < 0:
            return
        if pause and self._is_gone():
            self.close()
        else:
            self._go_on(pause=pause)

    def _is_gone(self) -> bool:
        """Has the client hung up, which nobody hears while we do not read?"""
        try:
            return not self._socket.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            return True

    def _answer_portion(self) -> bool:
        """Answer and send at most `PORTION` lines; False where a reply has nothing to say yet."""
        replies, more = bytearray(), True
        for _ in range(PORTION):
            if self._rest is not None:
                piece = next(self._rest, None)
                if piece is not None:
                    more = bool(piece)
                    replies += piece
                    break  # a piece is as much work as many lines
                self._rest = None
            if not self._waiting or len(replies) > UNSENT_LIMIT:
                break
            reply = self._answer(self._waiting.popleft())
            if isinstance(reply, bytes):
                replies += reply
            else:
                self._rest = reply
        if replies:
            self._server.touch(self)
            self._send(replies)
        return more

    def _answer(self, line: bytes | None) -> bytes | Iterator[bytes]:
        session = self._session
        assert session is not None, "a line comes after its first octet"
        try:
            return session.answer(line)
        except Exception:
            count(metrics.INTERNAL_ERRORS)
            self._server.failures.tell((line or b"")[:SHOWN])
            return session.failure

    def _send(self, replies: bytearray) -> None:
        try:
            sent = self._socket.send(replies)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:  # gone
            self.close()
            return
        if sent < len(replies):
            self._unsent = replies[sent:]
            self._loop.add_writer(self._socket.fileno(), self._send_on)
            self._patience = self._loop.call_later(self._server.unread, self._give_up)

    def _send_on(self) -> None:
        """The client takes more of what waits for it; it has all of `unread` for each time that it takes something."""
        unsent, self._unsent = self._unsent, bytearray()
        self._loop.remove_writer(self._socket.fileno())
        if self._patience is not None:
            self._patience.cancel()
        self._send(unsent)
        if self._socket.fileno() >= 0:
            self._go_on()

    def _give_up(self) -> None:
        count(metrics.BACKEND_CLOSED)
        self.close()

    def _go_on(self, *, pause: bool = False) -> None:
        """What follows: the client takes its replies, another portion, more reading, or the end."""
        if self._next is not None:
            return
        if self._unsent:
            self._pause_reading()
        elif self._rest is not None or self._waiting:
            self._pause_reading()
            delay = WAIT if pause else 0.0
            self._next = self._loop.call_later(delay, self._answer_waiting)
        elif self._ended:
            self.close()
        else:
            self._resume_reading()

    def _pause_reading(self) -> None:
        if self._reading:
            self._loop.remove_reader(self._socket.fileno())
            self._reading = False

    def _resume_reading(self) -> None:
        if not self._reading:
            self._loop.add_reader(self._socket.fileno(), self._read)
            self._reading = True
