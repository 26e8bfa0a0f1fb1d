"""The socket that PowerDNS attaches to: many clients, two protocols, one answer to each line.

Knows connections, their limits and which protocol they speak. Knows nothing of what a line says (`pdns_pipe`,
`pdns_remote`). A connection is read, answered and written by itself, without an asyncio transport: PowerDNS waits for each
answer before it asks again, so what a question costs is what its caller waits.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from .. import __version__, metrics, publish
from ..answer import Settings
from ..metrics import PIPE, REMOTE
from ..wire.lines import Lines
from .accept import Listener
from .failure import Failures, Pace
from .pdns_answer import Lookup
from .pdns_lookup import CurrentLookup, count
from .pdns_pipe import PipeSession
from .pdns_remote import RemoteSession

PORTION = 64  # lines of one connection that are answered before others have their turn
READ_SIZE = 1 << 14  # octets read at once
UNSENT_LIMIT = 1 << 16  # octets of replies that may wait for a client; one more reply may come on top
UNREAD_LIMIT = 10.0  # seconds that a client may leave a reply where it is
WAIT = 0.05  # seconds until a reply that has nothing to say yet is asked again
SHOWN = 512  # octets of a line that stand in the log when we failed on it
FIRST_OF_JSON = b"{"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BackendLimits:
    """How many connections there may be, and how long a client may leave its replies unread (seconds)."""

    clients: int = 512  # PowerDNS has one for each of its threads
    unread: float = UNREAD_LIMIT


class BackendServer:
    """The listener and its connections. Answers from the first moment on: FAIL while nothing is served yet.

    *loaded* says since when (seconds since 1970) what is served is served, for ``pdnsutil backend-cmd pipe status``.
    """

    def __init__(self, settings: Settings, loaded: Callable[[], float], limits: BackendLimits | None = None) -> None:
        self.limits = limits or BackendLimits()
        self.failures = Failures()
        self._loaded = loaded
        self.lookups: tuple[Lookup, ...] = tuple(
            CurrentLookup(protocol, settings, self.describe) for protocol in range(len(metrics.BACKEND_PROTOCOLS))
        )
        self._open: OrderedDict[Connection, None] = OrderedDict()  # who asked nothing for longest comes first
        self._full = Pace()
        self._listener: Listener | None = None

    @property
    def clients(self) -> int:
        """Connections that are open now."""
        return len(self._open)

    def describe(self) -> list[str]:
        """Version, what is served, and who is connected: a line each."""
        served, current = "nothing yet", publish.current
        if current is not None:
            zones, since = current.snapshot.zones, datetime.fromtimestamp(self._loaded(), UTC)
            served = f"{len(zones.zones)} zones, {len(zones.names)} names, since {since:%Y-%m-%dT%H:%M:%SZ}"
        kinds = [connection.protocol for connection in self._open]
        counts = ", ".join(f"{kinds.count(number)} {label}" for number, label in enumerate(metrics.BACKEND_PROTOCOLS))
        return [
            f"version: {__version__}, process {os.getpid()}",
            f"serving: {served}",
            f"connections: {len(kinds)} ({counts})",
        ]

    async def start(self, listening: socket.socket) -> None:
        """Accept on *listening*, which is ours from here on; who connected earlier is waiting in the kernel."""
        self._listener = Listener(listening, self._welcome)
        self._listener.resume()

    def pause(self) -> None:
        """Accept nothing, for `resume` or for a successor; connections that are open go on."""
        if self._listener is not None:
            self._listener.pause()

    def resume(self) -> None:
        """Accept again."""
        if self._listener is not None:
            self._listener.resume()

    async def stop(self) -> None:
        """Close the listener, answer what has been read, close all connections. PowerDNS connects again by itself."""
        if self._listener is not None:
            self._listener.close()
        for connection in list(self._open):
            connection.finish()
        self._open.clear()

    def _welcome(self, accepted: socket.socket) -> None:
        if len(self._open) >= self.limits.clients:
            # Whoever asks stays: a client that fills the table takes its own silent connections away, one after the other.
            if (untold := self._full.due()) is not None:
                more = f", as did {untold} more since the last such line" if untold else ""
                _log.warning("backend: %d connections are open: the idlest makes room%s", len(self._open), more)
            count(metrics.BACKEND_CLOSED)
            next(iter(self._open)).close()
        count(metrics.BACKEND_CONNECTIONS)
        connection = Connection(self, accepted)
        self._open[connection] = None
        self._open.move_to_end(connection, last=False)  # who never asked is the first to go

    def touch(self, connection: Connection) -> None:
        """*connection* has asked something."""
        self._open.move_to_end(connection)

    def leave(self, connection: Connection) -> None:
        """*connection* is closed."""
        self._open.pop(connection, None)


class Connection:
    """One client: at most one unfinished line, one reading of whole ones, and a bounded lot of replies."""

    def __init__(self, server: BackendServer, accepted: socket.socket) -> None:
        self.protocol = -1  # not known before it says something
        self._server, self._socket = server, accepted
        self._lines = Lines()
        self._session: PipeSession | RemoteSession | None = None
        self._waiting: deque[bytes | None] = deque()  # lines that are not answered yet
        self._rest: Iterator[bytes] | None = None  # of a reply that comes in pieces
        self._unsent = bytearray()
        self._ended = False  # the client sends no more
        self._next: asyncio.TimerHandle | None = None  # more is to be done, at the next turn or after a while
        self._patience: asyncio.TimerHandle | None = None  # while replies wait for the client
        self._loop = asyncio.get_running_loop()
        self._reading = False
        self._resume_reading()

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
        self._server.leave(self)

    def _read(self) -> None:
        try:
            octets = self._socket.recv(READ_SIZE)
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
        if self._session is None:
            self._session = self._recognise(octets)
        self._waiting.extend(self._lines.feed(octets))
        self._answer_waiting()

    def _recognise(self, octets: bytes) -> PipeSession | RemoteSession:
        """A JSON object begins with a brace, and no line of the pipe protocol does."""
        self.protocol = REMOTE if octets.startswith(FIRST_OF_JSON) else PIPE
        lookup = self._server.lookups[self.protocol]
        return RemoteSession(lookup) if self.protocol == REMOTE else PipeSession(lookup)

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
            self._patience = self._loop.call_later(self._server.limits.unread, self._give_up)

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
