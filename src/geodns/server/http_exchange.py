"""One HTTP connection: one request and one reply, each within its time, and a bound on all that arrives.

Knows aiohttp's protocol, how a reply is sent and what every reply says of itself. Knows nothing of what is asked.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from aiohttp import web

from ..errors import ControlError

MOST_BODY = 1 << 16  # octets
MOST_TAKEN = 1 << 18  # octets that a connection may send in all, whatever it sends
MOST_LINE = 1 << 13  # octets of the request line, and of each header
CHUNK = 1 << 16  # octets of a reply that are handed to the kernel at once
HEADERS = {
    "Server": "geodns",  # no version: aiohttp would tell its own and Python's
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
JSON, TEXT = "application/json", "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many connections each door takes, and how long each may need; seconds."""

    clients: int = 100
    request: float = 10.0  # until a request is there
    reply: float = 30.0  # until a reply is taken
    finish: float = 1.0  # what is open when we stop may take so long


class Reply(NamedTuple):
    """What is sent."""

    status: int
    kind: str
    octets: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Keeper(Protocol):
    """Who counts the connections, and hears of our mistakes."""

    bounds: Bounds

    def enter(self, exchange: Exchange) -> None: ...
    def leave(self, exchange: Exchange) -> None: ...
    def tell_mistake(self, what: str) -> None: ...


class Exchange(web.RequestHandler):
    """One connection: a request within its time, an operation, a reply within its time."""

    def __init__(self, keeper: Keeper, manager: web.Server, peer: str, who: str) -> None:
        super().__init__(
            manager,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=keeper.bounds.request,
            access_log=None,  # type: ignore[arg-type]  # traffic is counted, not logged
            max_line_size=MOST_LINE,
            max_field_size=MOST_LINE,
            lingering_time=keeper.bounds.finish,
            auto_decompress=False,
        )
        self.peer, self.who = peer, who  # peer is empty on the control socket
        self.heard = False  # anything arrived
        self.working = False  # an operation is under way: nothing may cut it short
        self._keeper, self._taken, self._replying = keeper, 0, False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._wait(self._keeper.bounds.request)
        self._keeper.enter(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._wait(None)
        self._keeper.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take *data*; once there is a reply, what is too much is let go unread: a reset for it could overtake the reply."""
        self.heard = True
        self._taken += len(data)
        if self._taken <= MOST_TAKEN:
            super().data_received(data)
        elif not self._replying:
            self.cut()

    def expect_work(self) -> None:
        """The request is here: what is done now takes as long as it takes."""
        self.working = True
        self._wait(None)

    def expect_taking(self) -> None:
        """The reply is ready, and the client shall take it."""
        self.working, self._replying = False, True
        self._wait(self._keeper.bounds.reply)

    def cut(self) -> None:
        """Close, now, and without the rest."""
        if self.transport is not None:
            self.transport.abort()

    def _wait(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else asyncio.get_running_loop().call_later(seconds, self.cut)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """aiohttp found no HTTP in what arrived: the reply to that, which is not worth a line of the log."""
        self.expect_taking()
        reply = write_error(400, "this is no HTTP that we understand")
        response = web.Response(body=reply.octets, status=reply.status, content_type=reply.kind, headers=HEADERS)
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        self._keeper.tell_mistake("an HTTP connection")


def write_error(status: int, text: str, *headers: tuple[str, str]) -> Reply:
    """An error as the API tells it. RFC 9110 15.5.2: a 401 "MUST send a WWW-Authenticate header field"."""
    if status == 401:
        headers = (*headers, ("WWW-Authenticate", 'Bearer realm="geodns"'))
    return Reply(status, JSON, json.dumps({"error": text}).encode(), headers)


async def read_whole(request: web.BaseRequest) -> bytes:
    """The body. Raises ControlError 413 for one that is too large, before it is read where it says so."""
    body = bytearray()
    if (request.content_length or 0) <= MOST_BODY:
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > MOST_BODY:
                break
        else:
            return bytes(body)
    raise ControlError(413, f"the body has more than {MOST_BODY} octets")


async def send(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    """Send *reply* as fast as the client takes it; one that has gone is nobody's mistake."""
    response = web.StreamResponse(
        status=reply.status, headers={**HEADERS, "Content-Type": reply.kind, **dict(reply.headers)}
    )
    response.content_length = len(reply.octets)
    response.force_close()
    try:
        await response.prepare(request)
        if request.method != "HEAD":
            octets = memoryview(reply.octets)
            for start in range(0, len(octets), CHUNK):
                await response.write(octets[start : start + CHUNK])
                await asyncio.sleep(0)  # a client that reads as fast as we write does not make us wait, nor may queries
        await response.write_eof()
    except ConnectionError:
        pass
    return response
