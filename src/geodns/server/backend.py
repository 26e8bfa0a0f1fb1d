"""The socket that PowerDNS attaches to: many clients, two protocols, one answer to each line.

Knows connections, how many there may be, and who succeeds whom. Knows nothing of what is said on one
(`backend_connection`), nor of what is answered (`pdns_answer`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from .. import __version__, metrics, publish
from ..answer import Settings
from ..metrics import PIPE, REMOTE
from .accept import Listener
from .backend_connection import Connection, Session
from .backend_heirloom import MARK
from .failure import Failures, Pace
from .pdns_answer import Lookup
from .pdns_lookup import CurrentLookup, count
from .pdns_pipe import ABIS, PipeSession
from .pdns_remote import RemoteSession

UNREAD_LIMIT = 10.0  # seconds that a client may leave a reply where it is
TRIES = 50  # to give a connection to a successor whose queue is full, a hundredth of a second apart

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
        self._limits = limits or BackendLimits()
        self.unread = self._limits.unread
        self.failures = Failures()
        self._loaded = loaded
        self.lookups: tuple[Lookup, ...] = tuple(
            CurrentLookup(protocol, settings, self.describe) for protocol in range(len(metrics.BACKEND_PROTOCOLS))
        )
        self._open: OrderedDict[Connection, None] = OrderedDict()  # who asked nothing for longest comes first
        self._full = Pace()
        self._listener: Listener | None = None
        self._path = ""

    @property
    def clients(self) -> int:
        """Connections that are open now."""
        return len(self._open)

    def count_clients(self) -> Counter[int]:
        """Connections that are open now, by the number of their protocol; `NEW` for those that have not said anything."""
        return Counter(connection.protocol for connection in self._open)

    def describe(self) -> list[str]:
        """Version, what is served, and who is connected: a line each."""
        served, current = "nothing yet", publish.current
        if current is not None:
            zones, since = current.snapshot.zones, datetime.fromtimestamp(self._loaded(), UTC)
            served = f"since {since:%Y-%m-%dT%H:%M:%SZ}; zones: {len(zones.zones)}; names: {len(zones.names)}"
        clients = self.count_clients()
        counts = ", ".join(f"{clients[number]} {label}" for number, label in enumerate(metrics.BACKEND_PROTOCOLS))
        return [
            f"version: {__version__}, process {os.getpid()}",
            f"serving: {served}",
            f"connections: {clients.total()} ({counts})",
        ]

    async def start(self, listening: socket.socket) -> None:
        """Accept on *listening*, which is ours from here on; who connected earlier is waiting in the kernel."""
        self._path = listening.getsockname()
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

    async def leave(self) -> None:
        """The socket is a successor's, which accepts already: give it all connections, and close our ends of them.

        One that is in the middle of something is answered and closed.
        """
        if self._listener is not None:
            self._listener.close()
        for _ in range(TRIES):
            for connection in list(self._open):
                connection.hand_over(self._path)
            if not self._open:
                return
            await asyncio.sleep(0.01)
        await self.stop()

    def adopt(self, octets: bytes, sockets: Sequence[socket.socket]) -> None:
        """Take over the connections that a predecessor hands to us."""
        kind, _, abi = octets.removeprefix(MARK).decode("ascii", "replace").partition(" ")
        for one in sockets:
            session: Session | None = None
            if kind == metrics.BACKEND_PROTOCOLS[PIPE] and abi in ABIS:
                session = PipeSession(self.lookups[PIPE], ABIS[abi])
            elif kind == metrics.BACKEND_PROTOCOLS[REMOTE]:
                session = RemoteSession(self.lookups[REMOTE])
            self._welcome(one, session)

    def _welcome(self, accepted: socket.socket, session: Session | None = None) -> None:
        if len(self._open) >= self._limits.clients:
            # Whoever asks stays: a client that fills the table takes its own silent connections away, one after the other.
            if (untold := self._full.due()) is not None:
                more = f", as did {untold} more since the last such line" if untold else ""
                _log.warning("backend: %d connections are open: the idlest makes room%s", len(self._open), more)
            count(metrics.BACKEND_CLOSED)
            next(iter(self._open)).close()
        count(metrics.BACKEND_CONNECTIONS)
        connection = Connection(self, accepted, session)
        self._open[connection] = None
        self._open.move_to_end(connection, last=session is not None)  # who never asked is the first to go

    def touch(self, connection: Connection) -> None:
        """*connection* has asked something."""
        self._open.move_to_end(connection)

    def forget(self, connection: Connection) -> None:
        """*connection* is closed."""
        self._open.pop(connection, None)
