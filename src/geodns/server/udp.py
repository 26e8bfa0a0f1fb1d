"""UDP: receive up to 64 queries, answer them all, then send them all.

Knows sockets and batches. Knows nothing of what a query says. No asyncio datagram endpoint (it costs 42 us a packet),
and three loops instead of one, since a client that sleeps between packets is then woken once a batch.
"""

from __future__ import annotations

import random
import socket
import struct
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable
from functools import partial
from typing import Any

from .. import metrics, publish
from ..answer import UDP, Settings, Turn
from .failure import Failures
from .listen import IP_PKTINFO, Bound

BATCH = 64
QUERY_SIZE = 4096  # octets of a query that are read; what is longer arrives cut off, and is FORMERR
LAST_BATCHES = 1000  # at the end, what waits in the kernel is answered; its buffer holds less than that
V4_INFO = struct.Struct("=i4s4s")  # in_pktinfo: interface, local address, destination in the header
V6_INFO = struct.Struct("=16sI")  # in6_pktinfo: destination, interface
SO_MEMINFO = 55  # asm-generic/socket.h; Python has no name for it
MEMORY_INFO = struct.Struct("=9I")  # SK_MEMINFO_*: first what waits to be read, last how many packets were dropped
INFO_SPACE = socket.CMSG_SPACE(max(V4_INFO.size, V6_INFO.size))

Answer = Callable[[Turn, bytes, bytes, int], bytes | None]
Source = tuple[Any, ...]  # what the kernel calls a peer: (address, port), IPv6 with flow and scope
Ancillary = list[tuple[int, int, bytes]]


class UdpReader:
    """One UDP socket, read whenever the loop sees queries in it; *number*: which of several at this address."""

    def __init__(self, bound: Bound, answer: Answer, settings: Settings, number: int = 0) -> None:
        self.listen = str(bound)
        self._socket, self._wildcard = bound.group[number], bound.wildcard
        self._answer, self._settings = answer, settings
        family = bound.udp.family
        self._pack = socket.inet_aton if family == socket.AF_INET else partial(socket.inet_pton, family)
        self._draw = partial(random.Random().getrandbits, 64)  # seeded by the system
        self._failures = Failures()
        self._loop: AbstractEventLoop | None = None

    def start(self, loop: AbstractEventLoop) -> None:
        """Answer from now on; a snapshot must have been published. What waited in the socket is answered too."""
        self._loop = loop
        loop.add_reader(self._socket, self.serve_batch)

    def pause(self) -> None:
        """Read no more; who asks meanwhile waits in the kernel, for `start` or for a successor."""
        if self._loop is not None:
            self._loop.remove_reader(self._socket)
            self._loop = None

    def leave(self) -> None:
        """Close our descriptor of a socket that a successor reads. Its door stays open, which `stop` would shut."""
        self.pause()
        self._socket.close()

    def stop(self) -> None:
        """Close the door, answer who is in, close the socket."""
        if self._loop is not None:
            self._loop.remove_reader(self._socket)
            self._loop = None
            shut_door(self._socket, wildcard=self._wildcard)
            for _ in range(LAST_BATCHES):
                if not self.serve_batch():
                    break
        self._socket.close()

    def serve_batch(self) -> int:
        """Serve what waits, 64 queries at most, never waiting; returns how many there were."""
        began, turn = time.perf_counter_ns(), self._turn()
        served = self._serve_wildcard(turn) if self._wildcard else self._serve_specific(turn)
        if served:
            metrics.count_batch(turn.tally, UDP, served, time.perf_counter_ns() - began)
        return served

    @property
    def dropped(self) -> int | None:
        """Queries that the kernel threw away since the socket was opened, because we did not read fast enough.

        None where it cannot be known: a closed socket, a kernel before Linux 4.12.
        """
        return read_drops(self._socket)

    @property
    def waiting(self) -> int:
        """Octets of queries that wait in the kernel, as it counts them: some 770 for each; 0 where that cannot be known."""
        return read_waiting(self._socket)

    def _turn(self) -> Turn:
        current = publish.current
        assert current is not None, "start() comes after the first publish"
        return Turn(current.snapshot, UDP, self._settings, time.time(), current.counters.tally)

    def _serve_specific(self, turn: Turn) -> int:
        answer, pack, draw, receive, send = (
            self._answer, self._pack, self._draw, self._socket.recvfrom, self._socket.sendto
        )  # fmt: skip
        batch: list[tuple[bytes, Source]] = []
        try:
            for _ in range(BATCH):
                batch.append(receive(QUERY_SIZE))  # noqa: PERF401 - the exception must leave what came before it
        except OSError as error:
            _count_receive(turn, error)
        replies: list[tuple[bytes, Source]] = []
        for query, source in batch:
            try:
                reply = answer(turn, query, pack(source[0]), draw())
            except Exception:
                reply = self._failed(turn, query)
            if reply is not None:
                replies.append((reply, source))
        for reply, source in replies:
            try:
                send(reply, source)
            except OSError:  # full buffer, port 0, unreachable: the client asks again, the others must not wait
                turn.tally[metrics.SEND_FAILURES] += 1
        return len(batch)

    def _serve_wildcard(self, turn: Turn) -> int:
        """The same with pktinfo: a reply leaves from the address that was asked (RFC 1035 4.2.1, RFC 2181 4.1)."""
        answer, pack, draw, receive, send = (
            self._answer, self._pack, self._draw, self._socket.recvmsg, self._socket.sendmsg
        )  # fmt: skip
        batch: list[tuple[bytes, Ancillary, int, Source]] = []
        try:
            for _ in range(BATCH):
                batch.append(receive(QUERY_SIZE, INFO_SPACE))  # noqa: PERF401 - as above
        except OSError as error:
            _count_receive(turn, error)
        replies: list[tuple[bytes, Ancillary, Source]] = []
        for query, ancillary, _, source in batch:
            try:
                reply = answer(turn, query, pack(source[0]), draw())
            except Exception:
                reply = self._failed(turn, query)
            if reply is not None:
                replies.append((reply, [_turned(*item) for item in ancillary], source))
        for reply, ancillary, source in replies:
            try:
                send((reply,), ancillary, 0, source)
            except OSError:
                turn.tally[metrics.SEND_FAILURES] += 1
        return len(batch)

    def _failed(self, turn: Turn, query: bytes) -> bytes | None:
        turn.tally[metrics.INTERNAL_ERRORS] += 1
        return self._failures.tell(query)


def shut_door(bound: socket.socket, *, wildcard: bool) -> None:
    """Let no further query in: a UDP socket that is connected takes packets of that one peer only, here itself.

    Without it a query that arrives between the last look and close() would vanish; now its sender is told at once,
    by ICMP, and asks another name server. What had arrived before stays readable.
    """
    address, port, *rest = bound.getsockname()
    try:
        if wildcard:
            address = "127.0.0.1" if bound.family == socket.AF_INET else "::1"
        bound.connect((address, port, *rest))
    except OSError:
        return  # no route to ourselves: then the gap of a microsecond stays


def read_drops(bound: socket.socket) -> int | None:
    """Queries that the kernel threw away since *bound* was opened; None where it cannot be known."""
    try:
        return int(MEMORY_INFO.unpack(bound.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, MEMORY_INFO.size))[-1])
    except OSError:
        return None


def read_waiting(bound: socket.socket) -> int:
    """Octets that wait in *bound*, with what the kernel keeps beside them; 0 where it cannot be known."""
    try:
        return int(MEMORY_INFO.unpack(bound.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, MEMORY_INFO.size))[0])
    except OSError:
        return 0


def _count_receive(turn: Turn, error: OSError) -> None:
    if not isinstance(error, (BlockingIOError, InterruptedError)):  # those only say that the socket is empty
        turn.tally[metrics.RECEIVE_FAILURES] += 1


def _turned(level: int, kind: int, info: bytes) -> tuple[int, int, bytes]:
    """The pktinfo of a query as that of its reply: the same local address, by whatever interface the route takes.

    Link-local addresses alone need theirs, since each interface has one.
    """
    if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
        _, local, asked = V4_INFO.unpack(info)
        return level, kind, V4_INFO.pack(0, local, asked)
    asked, interface = V6_INFO.unpack(info)
    link_local = asked[0] == 0xFE and asked[1] & 0xC0 == 0x80
    return level, kind, V6_INFO.pack(asked, interface if link_local else 0)
