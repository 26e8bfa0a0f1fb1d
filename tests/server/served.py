"""A running `HttpServer` for tests, in a thread with a loop of its own, on both doors."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, TypeVar

from tests.server.operations import FakeOperations

from geodns.server.doors import bind_control, bind_http
from geodns.server.http import HttpServer, Other
from geodns.server.http_exchange import Bounds

T = TypeVar("T")
LIMIT = 10.0  # seconds that anything here may take


class Served:
    """The server, what it was started with, and where it listens."""

    def __init__(self, path: Path, operations: FakeOperations, server: HttpServer) -> None:
        self.path, self.operations, self.server = path, operations, server
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        http, self._control = bind_http("127.0.0.1", 0), bind_control(path)
        self.port: int = http.getsockname()[1]
        self.run(server.start(http, self._control))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run *work* in the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(LIMIT)

    def set(self, event: asyncio.Event) -> None:
        self.loop.call_soon_threadsafe(event.set)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT)

    def connect_control(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(LIMIT)
        client.connect(str(self.path))
        return client

    def request(
        self, method: str, path: str, body: str | bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of a reply over TCP."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)
        try:
            connection.request(method, path, body, headers or {})
            reply = connection.getresponse()
            return reply.status, dict(reply.getheaders()), reply.read()
        finally:
            connection.close()

    def ask(self, octets: bytes, control: bool = False) -> bytes:
        """What comes back for *octets*, until the server closes."""
        with self.connect_control() if control else self.connect() as client:
            client.sendall(octets)
            return read_all(client)

    def close(self) -> list[str]:
        """Stop; returns the tasks that were left over."""
        self.run(self.server.stop())
        left = self.run(_find_tasks())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(LIMIT)
        self.loop.close()
        return left


async def _find_tasks() -> list[str]:
    """What still runs beside this, once what was cancelled, and who waits for the rest of a body, had their time."""
    deadline = time.monotonic() + 3
    while True:
        left = [repr(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        if not left or time.monotonic() > deadline:
            return left
        await asyncio.sleep(0.01)


def read_all(client: socket.socket) -> bytes:
    """All until the other side closes, be it by a reset."""
    received = bytearray()
    try:
        while octets := client.recv(1 << 16):
            received += octets
    except ConnectionError:
        pass
    return bytes(received)


@contextmanager
def serving(
    folder: Path,
    token: str | None = None,
    other: Other | None = None,
    bounds: Bounds | None = None,
    operations: FakeOperations | None = None,
) -> Iterator[Served]:
    """A server below *folder*; it must leave nothing behind."""
    operations = operations or FakeOperations()
    served = Served(folder / "control.sock", operations, HttpServer(operations, token, other, bounds or Bounds()))
    try:
        yield served
    finally:
        assert served.close() == []
