"""Queries in open loop: sent at their time whether or not those before were answered, each looked for."""

from __future__ import annotations

import socket
import threading
import time

from tests.test_daemon import PATIENCE

NAME = b"\3www\7example\3com\0\0\1\0\1"
REST = b"\1\0\0\1\0\0\0\0\0\0" + NAME
SOCKETS = 4  # each has 65,536 ids of its own


class Load:
    """A steady load by UDP on one port of 127.0.0.1, from `with` to its end; then `lost` tells who got no answer."""

    def __init__(self, port: int, rate: int) -> None:
        self.port, self.rate = port, rate
        self.sent, self.answers, self.slowest = 0, 0, 0.0
        self._waiting: dict[tuple[int, bytes], float] = {}
        self._sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(SOCKETS)]
        for one in self._sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            one.connect(("127.0.0.1", port))
            one.settimeout(0.1)
        self._stopped, self._all_sent = threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=self._send)]
        self._threads += [threading.Thread(target=self._receive, args=(number,)) for number in range(SOCKETS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._threads[0].join()  # the sender may be in the middle of a few more
        self._all_sent.set()
        for thread in self._threads[1:]:
            thread.join()
        for one in self._sockets:
            one.close()

    @property
    def lost(self) -> int:
        """Queries that were not answered, some moments after the end."""
        return len(self._waiting)

    def _send(self) -> None:
        began = time.monotonic()
        while not self._stopped.is_set():
            while self.sent < (time.monotonic() - began) * self.rate:
                which, number = self.sent % SOCKETS, (self.sent // SOCKETS).to_bytes(2, "big")
                self._waiting[which, number] = time.monotonic()
                self._sockets[which].send(number + REST)
                self.sent += 1
            time.sleep(0.001)

    def _receive(self, which: int) -> None:
        end = float("inf")
        while time.monotonic() < end and not (self._all_sent.is_set() and not self._waiting):
            if self._all_sent.is_set() and end == float("inf"):
                end = time.monotonic() + PATIENCE / 4
            try:
                reply = self._sockets[which].recv(512)
            except TimeoutError:
                continue
            sent = self._waiting.pop((which, reply[:2]), None)
            if sent is not None:
                self.answers += 1
                self.slowest = max(self.slowest, time.monotonic() - sent)
