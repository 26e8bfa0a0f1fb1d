"""UDP by native threads: one listen address, a thread for each of its sockets, and Python for what they leave.

Knows when threads run, where they count, and how a packet that they declined is answered, with the draw that it has already.
Knows nothing of what a query says, nor of what a thread does (`native.udp`). It starts, pauses, leaves and stops as
`UdpReader` does, and stands in for one.
"""

from __future__ import annotations

import socket
import struct
import time
from asyncio import AbstractEventLoop
from collections import OrderedDict
from typing import Protocol

from .. import metrics, publish
from ..answer import UDP, Settings, Turn
from ..errors import StartError
from ..metrics import POOLS, Counters
from ..native.answer import Rules
from ..native.udp import SAMPLED, Left, Tally, Workers
from .failure import Failures
from .listen import Bound
from .udp import BATCH, Answer, read_drops, shut_door

WAIT = struct.pack("ll", 0, 4000)  # struct timeval: how long a thread waits in recvmmsg(2), before it looks for an order too
KEPT = 8  # publishes of which samples may still come; those of older ones are given up


class Samples(Protocol):
    """Who wants some of the queries: the query log."""

    @property
    def share(self) -> float:
        """How many of them, 0..1."""

    def keep(self, turn: Turn, query: bytes, peer: bytes, draw: int, flags: int) -> None:
        """*query* was drawn, and answered with these *flags* of the header."""

    def miss(self, count: int) -> None:
        """So many were drawn, and are lost."""


class NativeReader:
    """All sockets for UDP of one listen address. *answer* is asked for what the threads decline."""

    def __init__(self, bound: Bound, answer: Answer, settings: Settings, samples: Samples | None = None) -> None:
        self.listen = str(bound)
        self._sockets, self._wildcard = bound.group, bound.wildcard
        self._answer, self._settings, self._samples = answer, settings, samples
        share = 0.0 if samples is None else samples.share
        files = [one.fileno() for one in bound.group]
        self._workers = Workers(files, bound.wildcard, Rules(settings, UDP), share)
        self._counters: Counters | None = None  # that the tallies belong to
        self._tallies: list[Tally] = []
        self._generation, self._missed, self._attached = 0, 0, False
        self._published: OrderedDict[int, publish.Current] = OrderedDict()  # by generation, where samples are taken
        self._failures = Failures()
        self._loop: AbstractEventLoop | None = None

    def start(self, loop: AbstractEventLoop) -> None:
        """Answer from now on; a snapshot must have been published. Raises StartError where there can be no thread."""
        if not self._attached:
            publish.attach(self)
            self._attached = True
        for one in self._sockets:
            one.setblocking(True)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, WAIT)
        try:
            self._workers.start()
        except OSError as error:
            text = f"server.workers: {self.listen}: cannot start {self.threads} threads: {error.strerror} (ulimit -u)"
            raise StartError(text) from error
        self._loop = loop
        loop.add_reader(self._workers.told, self.serve_left)

    def pause(self) -> None:
        """Read no more; who asks meanwhile waits in the kernel, for `start` or for a successor."""
        self._workers.hold()
        self._end_loop()
        for one in self._sockets:
            one.setblocking(False)

    def leave(self) -> None:
        """Close our descriptors of sockets that a successor reads."""
        self.pause()
        self._close()

    def stop(self) -> None:
        """Close the door, answer who is in, close the sockets."""
        if self._workers.running:
            for one in self._sockets:
                shut_door(one, wildcard=self._wildcard)
            self._workers.finish()
            self._end_loop()
        self._close()

    def _end_loop(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._workers.told)
            self._loop = None
            while self.serve_left():
                pass  # at most what the rings hold, since nobody brings more

    def _close(self) -> None:
        if self._attached:
            publish.detach(self)
            self._attached = False
        for one in self._sockets:
            one.close()
        self._forget(self._generation)

    @property
    def dropped(self) -> int | None:
        """Queries that the kernel threw away since the sockets were opened; None where it cannot be known."""
        drops = [read_drops(one) for one in self._sockets]
        return None if None in drops else sum(filter(None, drops))

    @property
    def threads(self) -> int:
        """How many read."""
        return self._workers.count

    def exchange(self, now: publish.Current) -> None:
        """Answer from *now* from the next batch on; see `publish.Reader`."""
        if now.counters is not self._counters:
            self._tallies = [Tally(POOLS + len(now.counters.pools)) for _ in self._sockets]
            now.counters.tallies.extend(memoryview(tally).cast("Q") for tally in self._tallies)
            self._counters = now.counters
        self._generation += 1
        self._workers.publish(now.native, self._tallies, self._generation)
        if self._samples is not None:
            self._published[self._generation] = now
            self._forget(self._generation - KEPT)

    def sweep(self) -> bool:
        """Let go of roots that no thread reads any more; see `publish.Reader`."""
        through = self._workers.sweep()
        self._forget(self._workers.oldest - 1)
        return through

    def _forget(self, generation: int) -> None:
        """Let go of this generation and those before."""
        while self._published and next(iter(self._published)) <= generation:
            _, gone = self._published.popitem(last=False)
            publish.retire(gone.snapshot)

    def serve_left(self) -> int:
        """Answer what threads left to us, 64 packets at most; returns how many there were."""
        began, current = time.perf_counter_ns(), publish.current
        assert current is not None, "start() comes after the first publish"
        turn = Turn(current.snapshot, UDP, self._settings, time.time(), current.counters.tally)
        taken, declined = self._workers.take(BATCH), 0
        for one in taken:
            if one[0] == SAMPLED:
                self._sample(one)
            else:
                self._reply(turn, one)
                declined += 1
        if declined:
            metrics.count_batch(turn.tally, UDP, declined, time.perf_counter_ns() - began)
        self._tell_missed()
        return len(taken)

    def _reply(self, turn: Turn, left: Left) -> None:
        _, query, peer, draw, worker, source, control, _, _ = left
        try:
            reply = self._answer(turn, query, peer, draw)
        except Exception:
            turn.tally[metrics.INTERNAL_ERRORS] += 1
            reply = self._failures.tell(query)
        if reply is not None and not self._workers.send(worker, source, control, reply):
            turn.tally[metrics.SEND_FAILURES] += 1

    def _sample(self, left: Left) -> None:
        """Hand a sample on, with the snapshot that it was answered from."""
        _, query, peer, draw, _, _, _, flags, generation = left
        if self._samples is None:
            return
        current = self._published.get(generation)
        if current is None:
            self._samples.miss(1)
            return
        turn = Turn(current.snapshot, UDP, self._settings, time.time(), current.counters.tally)
        self._samples.keep(turn, query, peer, draw, flags)

    def _tell_missed(self) -> None:
        """Samples that found a ring full."""
        missed = self._workers.missed
        if missed > self._missed and self._samples is not None:
            self._samples.miss(missed - self._missed)
        self._missed = missed
