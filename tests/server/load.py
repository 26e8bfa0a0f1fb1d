"""A load that notices one lost query: UDP in open loop, each query once.

Knows sending and counting. What a query is, and what its reply says, is for subclasses.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections import Counter
from pathlib import Path

from tests.server.adapters import PATIENCE

from geodns.server.listen import bind_all

RATE = 1000  # queries a second, sent whether or not they are answered; a socket holds two seconds of them
SENDERS = 4


def free_ports(count: int) -> list[int]:
    bound = bind_all([("127.0.0.1", 0)] * count)
    for one in bound:
        one.close()
    return [one.port for one in bound]


class Load:
    """Queries in open loop by UDP, no two alike; what is answered, and by whom."""

    def __init__(self) -> None:
        (self.port,) = free_ports(1)
        self.sent, self.answers = 0, Counter[bytes]()
        self.twice: list[int] = []
        self._waiting: set[int] = set()
        self._stopped, self._all_sent = threading.Event(), threading.Event()
        self._sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(SENDERS)]
        for one in self._sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            one.bind(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=target) for target in (self._send, self._receive)]

    def write(self, number: int) -> bytes:
        """The query of that number."""
        return b"query %d" % number

    def read(self, reply: bytes) -> tuple[int, bytes]:
        """Which query this answers, and who did."""
        query, _, whose = reply.partition(b" by ")
        return int(query.removeprefix(b"query ")), whose

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        began = time.monotonic()
        while not self._stopped.is_set():
            while self.sent < (time.monotonic() - began) * RATE:
                query = self.write(self.sent)
                self._waiting.add(self.sent)
                self._sockets[self.sent % SENDERS].sendto(query, ("127.0.0.1", self.port))
                self.sent += 1
            time.sleep(0.002)

    def _receive(self) -> None:
        quiet = 0.0
        while (self._waiting and quiet < PATIENCE) or not self._all_sent.is_set():
            ready, _, _ = select.select(self._sockets, [], [], 0.1)
            quiet = 0.0 if ready else quiet + 0.1
            for one in ready:
                number, whose = self.read(one.recv(1000))
                self.answers[whose] += 1
                try:
                    self._waiting.remove(number)
                except KeyError:
                    self.twice.append(number)

    def _stop(self) -> None:
        for event, thread in zip((self._stopped, self._all_sent), self._threads, strict=True):
            event.set()
            if thread.ident is not None:
                thread.join()  # the sender first: it may be in the middle of a few more

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        for one in self._sockets:
            one.close()

    def check(self) -> None:
        """Stop; nothing was lost, nothing answered twice."""
        self._stop()
        assert self.sent
        lost = f"{len(self._waiting)} of {self.sent} queries were lost, {sorted(self._waiting)[:9]} ..."
        assert self._waiting == set(), f"{lost}; the kernel dropped {self.find_drops()}"
        assert self.twice == []
        assert sum(self.answers.values()) == self.sent

    def find_drops(self) -> dict[str, int]:
        """Packets that did not fit into a socket's buffer, because its process had no turn for too long."""
        ports = {self.port: "queries"} | {one.getsockname()[1]: "replies" for one in self._sockets}
        drops = dict.fromkeys(ports.values(), 0)
        for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
            words = line.split()
            port = int(words[1].partition(":")[2], 16)
            if port in ports:
                drops[ports[port]] += int(words[-1])
        return drops
