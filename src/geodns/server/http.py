"""HTTP for operators: metrics, health and the API, on TCP and on the control socket.

Knows both doors, how many may come in, and how a request becomes a call of an operation and its result a reply. Knows
nothing of what operations do: they are passed in.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from aiohttp import web

from ..errors import ControlError
from ..jsonform import write_pieces
from .accept import Listener, peek, starts_http
from .access import PROXY_HEADERS, Asker, Need, check_access
from .api import ROUTES, Given, Operations, Route, read_body, read_query
from .failure import Pace
from .http_exchange import JSON, TEXT, Bounds, Exchange, Reply, read_whole, send, write_error
from .openapi import DOCUMENT, write_document

SLICE = 0.001  # seconds of writing JSON between two looks at the sockets
SCRAPE_AGE = 1.0  # seconds for which one scrape serves everybody: it is open to all, and not cheap
GRAIN = 0.01  # seconds between two looks whether the last connection has gone
OUR_MISTAKE = "a mistake of ours; the log of the daemon tells of it"

Other = Callable[[socket.socket, bytes], Awaitable[None]]
_log = logging.getLogger(__name__)


class HttpServer:
    """Both doors. `token` may be replaced at any time; None: nothing can be changed over TCP."""

    def __init__(
        self, operations: Operations, token: str | None = None, other: Other | None = None, bounds: Bounds | None = None
    ) -> None:
        self.token = token
        self.bounds = bounds or Bounds()
        self._operations, self._other = operations, other
        self._paths = _find_paths()
        self._document: bytes | None = None
        self._scrape: asyncio.Future[tuple[str, bytes]] | None = None
        self._fresh_until = 0.0
        self._manager: web.Server | None = None
        self._listeners: list[Listener] = []
        self._welcoming: set[asyncio.Task[None]] = set()
        self._open: dict[Exchange, None] = {}  # the oldest first
        self._serving: set[asyncio.Task[Any]] = set()
        self._mistakes, self._intruders = Pace(), Pace()

    async def start(self, http: socket.socket | None, control: socket.socket | None) -> None:
        """Accept on both, or on one; the sockets listen, and are ours from now on."""
        self._manager = web.Server(self._serve)
        if http is not None:
            self._listeners.append(Listener(http, self._welcome))
        if control is not None:
            self._listeners.append(Listener(control, self._welcome_owner))
        self.resume()

    def pause(self) -> None:
        """Accept nothing more for now; requests that are here go on."""
        for listener in self._listeners:
            listener.pause()

    def resume(self) -> None:
        """Accept again."""
        for listener in self._listeners:
            listener.resume()

    async def stop(self) -> None:
        """Accept no more; what is open has `bounds.finish` seconds, whoever has not asked yet has none."""
        for listener in self._listeners:
            listener.close()
        for exchange in [one for one in self._open if not one.heard]:
            exchange.cut()
        deadline = time.monotonic() + self.bounds.finish
        while (self._open or self._welcoming) and time.monotonic() < deadline:
            await asyncio.sleep(GRAIN)
        for task in self._welcoming:
            task.cancel()
        for exchange in list(self._open):
            exchange.cut()
        if self._manager is not None:
            await self._manager.shutdown(GRAIN)
        for work in (*self._serving, *([self._scrape] if self._scrape is not None else [])):
            work.cancel()

    def enter(self, exchange: Exchange) -> None:
        """Count a connection in. At the limit the oldest of its door that waits for its client makes room."""
        same = [one for one in self._open if bool(one.peer) == bool(exchange.peer)]
        self._open[exchange] = None
        if len(same) >= self.bounds.clients:
            next((one for one in same if not one.working), exchange).cut()

    def leave(self, exchange: Exchange) -> None:
        """Count a connection out."""
        self._open.pop(exchange, None)

    def tell_mistake(self, what: str) -> None:
        """Log the exception being handled, at a limited rate."""
        if (untold := self._mistakes.due()) is not None:
            more = f" ({untold} more since the last such line)" if untold else ""
            _log.exception("%s failed, which is a bug in geodns%s", what, more)

    def _welcome(self, connection: socket.socket) -> None:
        """A client by TCP."""
        try:
            peer = str(connection.getpeername()[0]).partition("%")[0]
        except OSError:  # gone already
            connection.close()
            return
        self._spawn(self._connect(connection, peer, peer), connection)

    def _welcome_owner(self, connection: socket.socket) -> None:
        """A client of the control socket, who may speak something else than HTTP."""
        self._spawn(self._find_language(connection), connection)

    def _spawn(self, work: Coroutine[Any, Any, None], connection: socket.socket) -> None:
        if len(self._welcoming) >= self.bounds.clients:
            work.close()
            connection.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._welcoming.add(task)
        task.add_done_callback(self._welcoming.discard)

    async def _find_language(self, connection: socket.socket) -> None:
        """HTTP, or what `other` speaks: it is called with the socket and its first octets, which are still unread."""
        try:
            first = await peek(connection, self.bounds.request)
            if first and starts_http(first):
                await self._connect(connection, "", f"uid {read_uid(connection)}")
                return
            if first and self._other is not None:
                await self._other(connection, first)  # closes it when it is done
                return
        except (TimeoutError, OSError):
            pass
        except asyncio.CancelledError:
            connection.close()
            raise
        except Exception:
            self.tell_mistake("a conversation on the control socket")
        connection.close()

    async def _connect(self, connection: socket.socket, peer: str, who: str) -> None:
        assert self._manager is not None, "start() made it"
        make = partial(Exchange, self, self._manager, peer, who)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(make, connection)
        except OSError:  # gone meanwhile
            connection.close()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request, and its reply. Never raises for what a client did."""
        exchange, task = request.protocol, asyncio.current_task()
        assert isinstance(exchange, Exchange) and task is not None
        self._serving.add(task)  # it goes on without its client: who asked for a reload and left still gets it
        task.add_done_callback(self._serving.discard)
        try:
            reply = await self._answer(request, exchange)
        except ControlError as error:
            reply = write_error(error.status, str(error))
        except (ConnectionError, web.RequestPayloadError):
            reply = write_error(400, "the request did not arrive whole")
        except Exception:
            self.tell_mistake(f"{request.method} {request.path}"[:100])
            reply = write_error(500, OUR_MISTAKE)
        exchange.expect_taking()
        return await send(request, reply)

    async def _answer(self, request: web.BaseRequest, exchange: Exchange) -> Reply:
        """Find what is asked, whether it may be, and the answer to it. Raises ControlError."""
        methods = self._paths.get(request.path)
        if methods is None:
            raise ControlError(404, "nothing is here; /api/v1/openapi.json tells what there is")
        method = "GET" if request.method == "HEAD" else request.method
        if method not in methods:
            allowed = ", ".join(methods).replace("GET", "GET, HEAD")
            return write_error(405, f"this takes {allowed}", ("Allow", allowed))
        need, work = methods[method]
        self._check_access(request, exchange, need)
        if isinstance(work, Route):
            return await self._operate(work, request, exchange)
        return await work(self)

    def _check_access(self, request: web.BaseRequest, exchange: Exchange, need: Need) -> None:
        headers = request.headers
        authorization = tuple(headers.getall("Authorization", ()))
        proxied = any(name in headers for name in PROXY_HEADERS)
        asker = Asker(exchange.peer, tuple(headers.getall("Host", ())), authorization, proxied)
        try:
            check_access(need, asker, self.token)
        except ControlError as error:
            if error.status == 401 and authorization and (untold := self._intruders.due()) is not None:
                more = f" ({untold} more since the last such line)" if untold else ""
                _log.warning("the API was asked with a wrong token from %s%s", exchange.peer, more)
            raise

    async def _operate(self, route: Route, request: web.BaseRequest, exchange: Exchange) -> Reply:
        """Read what is given, do it, and tell the result."""
        if route.method == "POST":
            given = read_body(route, await read_whole(request))
        else:
            given = read_query(route, request.query.items())
        exchange.expect_work()
        if "owner" in given:
            given["owner"] = name_owner(given, exchange)
        return Reply(200, JSON, await write_facts(await route.call(self._operations, given)))

    async def tell_metrics(self) -> Reply:
        """What Prometheus asks for. Whoever asks within a second of another is told the same."""
        now = time.monotonic()
        if self._scrape is None or (self._scrape.done() and now >= self._fresh_until):
            self._scrape, self._fresh_until = asyncio.ensure_future(self._operations.scrape()), now + SCRAPE_AGE
        kind, octets = await asyncio.shield(self._scrape)
        return Reply(200, kind, octets)

    async def tell_health(self) -> Reply:
        """The loop runs, or nobody would say so."""
        return Reply(200, TEXT, b"ok\n")

    async def tell_readiness(self) -> Reply:
        """Are queries answered?"""
        return Reply(200, TEXT, b"ready\n") if self._operations.ready() else Reply(503, TEXT, b"not ready\n")

    async def tell_document(self) -> Reply:
        """The OpenAPI document, made when it is first asked for."""
        if self._document is None:
            self._document = json.dumps(write_document(type(self._operations)), separators=(",", ":")).encode()
        return Reply(200, JSON, self._document)


Work = Route | Callable[[HttpServer], Awaitable[Reply]]


def _find_paths() -> dict[str, dict[str, tuple[Need, Work]]]:
    """By path and method: what is needed, and what is done."""
    paths: dict[str, dict[str, tuple[Need, Work]]] = {
        "/metrics": {"GET": (Need.OPEN, HttpServer.tell_metrics)},
        "/healthz": {"GET": (Need.OPEN, HttpServer.tell_health)},
        "/readyz": {"GET": (Need.OPEN, HttpServer.tell_readiness)},
        DOCUMENT: {"GET": (Need.READ, HttpServer.tell_document)},
    }
    for route in ROUTES:
        need = Need.READ if route.method == "GET" else Need.WRITE
        paths.setdefault(route.path, {})[route.method] = need, route
    return paths


def name_owner(given: Given, exchange: Exchange) -> str:
    """Who does it: as the client says, and for TCP from where; who says nothing is known by user or address."""
    name = given["owner"]
    return f"{name} at {exchange.peer}" if name and exchange.peer else name or exchange.who


def read_uid(connection: socket.socket) -> int:
    """The user at the other end of a Unix socket: struct ucred in unix(7)."""
    ucred = struct.Struct("3i")  # pid, uid, gid
    return int(ucred.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, ucred.size))[1])


async def write_facts(facts: object) -> bytes:
    """*facts* as JSON, written a millisecond at a time with as much for queries between."""
    octets, began = bytearray(), time.monotonic()
    for piece in write_pieces(facts):
        octets += piece.encode("utf-8", "replace")
        if (took := time.monotonic() - began) > SLICE:
            await asyncio.sleep(took)
            began = time.monotonic()
    return bytes(octets)
