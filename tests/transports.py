"""Ways to put a question to a snapshot: by calling `answer`, and through real sockets of the adapters.

Knows what the adapters need to live: a loop in a thread, sockets on loopback, a published snapshot. Knows nothing of what
is asked. Other ways (PowerDNS, a native engine) come here as further classes of the same shape, and into TRANSPORTS.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from ipaddress import IPv4Address, IPv6Address
from types import TracebackType

from tests.replies import speaks_ipv6

from geodns import metrics, publish
from geodns.answer import UDP, Settings, Turn, answer
from geodns.compiler.build import Built
from geodns.server.listen import Bound, bind_all
from geodns.server.tcp import TcpLimits, TcpServer
from geodns.server.udp import UdpReader
from geodns.settings import make_settings
from geodns.snapshot import Snapshot

Address = IPv4Address | IPv6Address
PATIENCE = 5.0  # seconds until a missing reply is a failure; never slept through when all is well
LOOPBACK = ("127.0.0.1", "::1")
LIMITS = TcpLimits(clients=50, per_address=50, idle=PATIENCE)


class InProcess:
    """`answer` itself: the draw and the peer are ours."""

    exact = True

    def publish(self, built: Built, snapshot: Snapshot) -> None:
        """Answer from *snapshot* from now on."""
        tally = metrics.new_tally(len(snapshot.zones.pools))
        self._turn = Turn(snapshot, UDP, make_settings(built.loaded.config.server), time.time(), tally)

    def ask(self, query: bytes, peer: Address, draw: int) -> bytes | None:
        """The reply to *query*."""
        return answer(self._turn, query, peer.packed, draw)

    def close(self) -> None:
        """Nothing is held."""


class OverSockets:
    """The UDP and TCP adapters in a loop of their own thread; a subclass says how it asks them."""

    exact = False

    def __init__(self) -> None:
        self._server: Server | None = None

    def publish(self, built: Built, snapshot: Snapshot) -> None:
        """Answer from *snapshot* from now on; at the first time, start to answer at all."""
        publish.publish(snapshot)
        if self._server is None:
            self._server = Server(make_settings(built.loaded.config.server))

    def ask(self, query: bytes, peer: Address, draw: int) -> bytes | None:
        """The reply to *query*, sent from *peer*, which is a loopback address."""
        assert self._server is not None
        return self.exchange(self._server.ports[peer.version], query, str(peer))

    def exchange(self, port: int, query: bytes, peer: str) -> bytes | None:
        """Send *query* from *peer* to *port* and wait for the reply."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop and close all sockets."""
        if self._server is not None:
            self._server.close()


class OverUdp(OverSockets):
    """One datagram each way."""

    def exchange(self, port: int, query: bytes, peer: str) -> bytes | None:
        return ask_udp(query, (_loopback(peer), port), peer)


class OverTcp(OverSockets):
    """One connection for each question."""

    def exchange(self, port: int, query: bytes, peer: str) -> bytes | None:
        return ask_tcp(query, (_loopback(peer), port), peer)


TRANSPORTS: dict[str, Callable[[], InProcess | OverSockets]] = {
    "in-process": InProcess,
    "udp": OverUdp,
    "tcp": OverTcp,
}


@contextmanager
def open_transport(name: str) -> Iterator[InProcess | OverSockets]:
    """The transport of that name, closed in the end."""
    transport = TRANSPORTS[name]()
    try:
        yield transport
    finally:
        transport.close()


def _loopback(peer: str) -> str:
    return LOOPBACK[":" in peer]


def ask_udp(query: bytes, where: tuple[str, int], peer: str = "", patience: float = PATIENCE) -> bytes | None:
    """The datagram that comes back for *query* from *where*; None after *patience* seconds."""
    family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.bind((peer, 0))
        asking.settimeout(patience)
        asking.connect(where)
        asking.send(query)
        try:
            return asking.recv(65535)
        except TimeoutError:
            return None


def ask_tcp(
    query: bytes, where: tuple[str, int], peer: str = "", patience: float = PATIENCE, head: bytes = b""
) -> bytes | None:
    """The message that comes back for *query* on a connection of its own; None when it is closed without, or too late.

    *head* is what a proxy says first.
    """
    with socket.create_connection(where, patience, (peer, 0)) as asking:
        asking.sendall(head + struct.pack("!H", len(query)) + query)
        return receive_message(asking)


def receive_message(asking: socket.socket) -> bytes | None:
    """The next message of a TCP connection; None when it ends, or nothing comes within its time-out."""
    try:
        head = _receive_exactly(asking, 2)
        return _receive_exactly(asking, int.from_bytes(head, "big"))
    except (EOFError, TimeoutError, ConnectionResetError):
        return None


def _receive_exactly(asking: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = asking.recv(size - len(found))
        if not more:
            raise EOFError(f"closed after {len(found)} of {size} octets")
        found += more
    return found


class Server(AbstractContextManager["Server"]):
    """The UDP and TCP adapters on free ports of both loopback addresses, answering from `publish.current`."""

    def __init__(self, settings: Settings, limits: TcpLimits = LIMITS) -> None:
        self._settings, self._limits = settings, limits
        self.bound: tuple[Bound, ...] = bind_all([(address, 0) for address in LOOPBACK[: 1 + speaks_ipv6()]])
        self.ports = {6 if ":" in one.address else 4: one.port for one in self.bound}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="server", daemon=True)
        self._thread.start()
        self._udp, self._tcp = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(PATIENCE)

    async def _start(self) -> tuple[list[UdpReader], TcpServer]:
        readers = [UdpReader(one, answer, self._settings) for one in self.bound]
        for reader in readers:
            reader.start(asyncio.get_running_loop())
        tcp = TcpServer(answer, self._settings, self._limits)
        await tcp.start(self.bound)
        return readers, tcp

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop answering and end the thread."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    async def _stop(self) -> None:
        for reader in self._udp:
            reader.stop()
        await self._tcp.stop()
