"""TCP: messages with their length before them, many on a connection, and clients that must not cost us anything.

Knows connections, their limits and their age. Knows nothing of what a query says. Everything happens between two looks
at the sockets and in portions of 64 queries, so that no connection holds up UDP.
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

from .. import metrics, publish
from ..answer import TCP, Settings, Turn
from ..wire.stream import Framing, frame
from .failure import Failures
from .listen import BACKLOG, Bound
from .udp import Answer

PORTION = 64  # queries of one connection that are answered before others have their turn
READ_SIZE = 1 << 14  # octets read at once, into one buffer that all connections share
UNSENT_LIMIT = 1 << 16  # octets of replies that may wait for a client; one more reply of 64 KiB may come on top
SWEEPS = 4  # looks for idle connections within one idle time
ACCEPTS = 64  # connections accepted at once
ROUNDS = 8  # of the loop: asyncio needs four or five from accept() to the first reading
FINISH = 1.0  # seconds that clients have to take the last replies when we stop


@dataclass(frozen=True, slots=True)
class TcpLimits:
    """How many connections, and how long one may do nothing (seconds)."""

    clients: int
    per_address: int  # one IPv4 address or one IPv6 /64, which is what one customer has
    idle: float


class TcpServer:
    """All TCP listeners and the connections that they accepted."""

    def __init__(self, answer: Answer, settings: Settings, limits: TcpLimits) -> None:
        self.answer, self.settings = answer, settings
        self.draw = partial(random.Random().getrandbits, 64)  # seeded by the system
        self.failures = Failures()
        self.scratch = memoryview(bytearray(READ_SIZE))
        self._limits = limits
        self._open: OrderedDict[Connection, None] = OrderedDict()  # the one that did nothing for longest comes first
        self._by_client: Counter[bytes] = Counter()
        self._bound: Sequence[Bound] = ()
        self._servers: list[asyncio.Server] = []
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def clients(self) -> int:
        """Connections that are open now."""
        return len(self._open)

    @property
    def tally(self) -> list[int]:
        """Where connections are counted now."""
        return _read_current().counters.tally

    async def start(self, bound: Sequence[Bound]) -> None:
        """Accept from now on; a snapshot must have been published. Who connected earlier is waiting in the kernel."""
        self._bound = bound
        await self.resume()
        self._sweep()

    async def resume(self) -> None:
        """Accept again, after `pause`."""
        loop = asyncio.get_running_loop()
        for one in self._bound:
            # asyncio closes the socket that it is given, also when it is only to pause
            server = await loop.create_server(lambda: Connection(self), sock=one.tcp.dup(), backlog=ACCEPTS)
            one.tcp.listen(BACKLOG)  # asyncio's `backlog` is both: what it accepts at once, and what the kernel keeps
            self._servers.append(server)

    async def pause(self) -> None:
        """Accept no more; who connects meanwhile waits in the kernel, for `resume` or for a successor.

        Connections that are open go on.
        """
        loop = asyncio.get_running_loop()
        for server in self._servers:
            for listening in server.sockets:
                loop.remove_reader(listening.fileno())
        await _let_loop_read()  # asyncio would lose connections between accept() and their protocol, were it closed at once
        for server in self._servers:
            server.close()
        self._servers.clear()

    async def drain(self, seconds: float) -> None:
        """After `pause`: serve who is connected until they end or idle for too long, at most so long."""
        deadline = time.monotonic() + seconds
        while self._open and time.monotonic() < deadline:
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """Accept no more, answer what has arrived, close; who does not take the last replies is cut off."""
        await _let_loop_read()  # what had arrived when we were told to stop is accepted and answered
        await self.pause()
        for one in self._bound:
            one.tcp.close()
        await _let_loop_read()
        for connection in list(self._open):
            connection.finish()
        deadline = time.monotonic() + FINISH
        while self._open and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        for connection in list(self._open):
            self._close(connection)
        if self._sweeper is not None:
            self._sweeper.cancel()
        await asyncio.sleep(0)  # the transports close their sockets

    def turn(self) -> Turn:
        """What is read once for a portion of queries."""
        current = _read_current()
        return Turn(current.snapshot, TCP, self.settings, time.time(), current.counters.tally)

    def enter(self, connection: Connection) -> None:
        """Count *connection* in; at a limit the one that did nothing for longest makes room (checklist T7, T8).

        Its own address first, so that many connections from one address only ever push out each other.
        """
        if self._by_client[connection.client] >= self._limits.per_address:
            self._close(next(other for other in self._open if other.client == connection.client))
        elif len(self._open) >= self._limits.clients:
            self._close(next(iter(self._open)))
        self._open[connection] = None
        self._by_client[connection.client] += 1

    def touch(self, connection: Connection) -> None:
        """*connection* has done something whole: a query arrived, or a client took all that waited for it."""
        if connection in self._open:
            connection.active = time.monotonic()
            self._open.move_to_end(connection)

    def leave(self, connection: Connection) -> None:
        """Count *connection* out, once."""
        if connection not in self._open:
            return
        del self._open[connection]
        self._by_client[connection.client] -= 1
        if not self._by_client[connection.client]:
            del self._by_client[connection.client]

    def _close(self, connection: Connection) -> None:
        self.tally[metrics.TCP_CLOSED] += 1
        self.leave(connection)
        connection.expire()

    def idle_limit(self) -> float:
        """Seconds that a connection may do nothing: as configured up to half of the places taken, then less and less.

        RFC 7766 6.2.3 recommends an idle time in the order of seconds, that may vary with load down to none at all
        under attack. A tenth is left when all places are taken.
        """
        free = 1 - len(self._open) / self._limits.clients
        return self._limits.idle * min(1.0, max(0.1, 2 * free))

    def _sweep(self) -> None:
        """Close what has been idle for too long; the oldest stand first, so this ends at the first that may stay."""
        limit, now = self.idle_limit(), time.monotonic()
        while self._open:
            oldest = next(iter(self._open))
            if now - oldest.active < limit:
                break
            self._close(oldest)
        self._sweeper = asyncio.get_running_loop().call_later(limit / SWEEPS, self._sweep)


class Connection(asyncio.BufferedProtocol):
    """One client. Holds at most one incomplete message and one reading of queries, and a bounded lot of replies."""

    def __init__(self, server: TcpServer) -> None:
        self._server = server
        self._framing = Framing()
        self._waiting: deque[bytes] = deque()  # queries that arrived and are not answered yet
        self._ended = False  # the client has sent its FIN
        self._unread = False  # the client does not take its replies
        self._scheduled = False  # more queries wait for their turn
        self.active = time.monotonic()
        self.client = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=UNSENT_LIMIT)
        peer = transport.get_extra_info("peername")
        if peer is None:  # gone before we looked
            self._transport.abort()
            return
        family = socket.AF_INET6 if len(peer) == 4 else socket.AF_INET
        self._peer = socket.inet_pton(family, peer[0])
        self.client = self._peer[:8] if len(self._peer) == 16 else self._peer
        self._server.tally[metrics.TCP_CONNECTIONS] += 1
        self._server.enter(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._server.scratch

    def buffer_updated(self, nbytes: int) -> None:
        self._waiting.extend(self._framing.feed(bytes(self._server.scratch[:nbytes])))
        if not self._scheduled and not self._unread:
            self._answer_waiting()

    def eof_received(self) -> bool:
        """The client sends no more; what it asked before is still answered (checklist T11)."""
        self._ended = True
        if not self._scheduled and not self._unread:
            self._transport.close()  # after what is buffered has been sent
        return True  # asyncio shall not close by itself

    def pause_writing(self) -> None:
        """More than `UNSENT_LIMIT` waits for the client: read and answer nothing more until it has taken that."""
        self._unread = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._unread = False
        self._server.touch(self)
        if not self._scheduled:
            self._answer_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.leave(self)
        self._waiting.clear()

    def finish(self) -> None:
        """Close as if the client had ended: after what has arrived is answered and the replies are taken."""
        self.eof_received()

    def expire(self) -> None:
        """Close, now: politely, unless replies wait that the client does not take (checklist T9)."""
        if self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.close()

    def _answer_waiting(self) -> None:
        """Answer the whole messages that wait, a portion at a time, while the client takes what it is sent."""
        self._scheduled = False
        if self._transport.is_closing():
            return
        began, turn, replies, waited = time.perf_counter_ns(), self._server.turn(), bytearray(), len(self._waiting)
        for _ in range(min(PORTION, waited)):
            reply = self._answer(turn, self._waiting.popleft())
            if reply is not None:
                replies += frame(reply)
                if len(replies) > UNSENT_LIMIT:
                    break
        if replies:  # what only draws silence does not count as activity
            self._server.touch(self)
            self._transport.write(replies)
        if answered := waited - len(self._waiting):
            metrics.count_batch(turn.tally, TCP, answered, time.perf_counter_ns() - began)
        self._go_on()

    def _go_on(self) -> None:
        """What follows a portion: another, more reading, or the end."""
        if self._unread:
            return  # resume_writing() goes on
        if self._waiting:
            self._scheduled = True
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._answer_waiting)
        elif self._ended or self._framing.broken:  # broken: whatever this is, it is not DNS (checklist T10)
            self._transport.close()
        else:
            self._transport.resume_reading()

    def _answer(self, turn: Turn, query: bytes) -> bytes | None:
        try:
            return self._server.answer(turn, query, self._peer, self._server.draw())
        except Exception:
            turn.tally[metrics.INTERNAL_ERRORS] += 1
            return self._server.failures.tell(query)


def _read_current() -> publish.Current:
    current = publish.current
    assert current is not None, "start() comes after the first publish"
    return current


async def _let_loop_read() -> None:
    """Rounds of the loop until a connection that waited to be accepted has been, is registered, and has been read."""
    for _ in range(ROUNDS):
        await asyncio.sleep(0)
