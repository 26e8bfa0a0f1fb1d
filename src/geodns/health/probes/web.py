"""The http and https probes.

Knows requests, redirects and what a reply must be; aiohttp speaks. One connection a probe, no cookies, no proxy, no
compression. Knows nothing of schedules.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import aiohttp
from aiohttp.abc import AbstractCookieJar
from aiohttp.connector import Connection
from yarl import URL

from ... import __version__
from ...config.model_checks import HttpCheck, HttpsCheck
from ..targets import Target
from .body import find_in_body
from .certificate import valid_until
from .connect import Names, follow
from .finding import Finding, Trail, explain_error, failed, passed, quote
from .pattern import MOST_SECONDS, Patterns, TooSlow
from .trust import Trust

MOST_REDIRECTS = 10
REDIRECTS = frozenset({301, 302, 303, 307, 308})  # RFC 9110 15.4: those that name another place
USER_AGENT = f"geodns/{__version__} (health check)"
DEFAULT_PORTS = {"http": 80, "https": 443}
NO_LIMIT = aiohttp.ClientTimeout(total=None, sock_connect=None)  # whoever calls has a clock


class Running(NamedTuple):
    """The probe that runs, for what aiohttp calls on its behalf: it tells nobody else how far a request got."""

    sockets: list[socket.socket]  # that were opened; the first leads to the member
    trail: Trail


_running: ContextVar[Running] = ContextVar("probe that runs")

WebCheck = HttpCheck | HttpsCheck


class Step(NamedTuple):
    """One request: what for, and to whom."""

    method: str
    url: URL  # as the server knows itself
    address: str
    port: int
    told: bool  # the header fields of the check go there too: they may hold secrets


class Web:
    """The session that all http and https probes share. They share no connection."""

    def __init__(self, names: Names, trust: Trust) -> None:
        self._names = names
        self._trust = trust
        self._patterns = Patterns()
        self._session: aiohttp.ClientSession | None = None

    async def probe(self, target: Target, check: WebCheck, trail: Trail) -> Finding:
        """Ask *target* for what *check* says. Raises Unresolved, Unable and OSError."""
        sockets: list[socket.socket] = []
        token = _running.set(Running(sockets, trail))
        try:
            return await self._follow(target, check, trail)
        except aiohttp.ClientError as error:
            return _explain(error, trail)
        except asyncio.CancelledError:
            if sockets:  # most often the time is over
                follow(sockets[-1], trail)
            raise
        finally:
            _running.reset(token)

    async def close(self) -> None:
        """End the session, and the process that searches bodies."""
        self._patterns.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _follow(self, target: Target, check: WebCheck, trail: Trail) -> Finding:
        """The first reply, or with `redirects` the first that leads nowhere else."""
        address = await self._names.find(target.host, trail)
        home = _make_url(check.type, check.host or target.member.removesuffix("."), _public_port(target, check), check.path)
        step = start = Step(check.method, home, address, target.port, told=True)
        for _ in range(MOST_REDIRECTS + 1):
            async with await self._ask(step, check) as response:
                trail.hear()
                to = response.headers.get("Location") if check.redirects and response.status in REDIRECTS else None
                if to is None:
                    return await self._judge(response, check)
            url = _join(step.url, to)
            if url is None:
                return failed(f"redirects to {quote(to.encode())}, which is nothing for HTTP")
            step = await self._find_step(_next_method(step.method, response.status), url, start, trail)
        return failed(f"more than {MOST_REDIRECTS} redirects")

    async def _find_step(self, method: str, url: URL, start: Step, trail: Trail) -> Step:
        """Where *url* is. What has the name that was asked at *start* stays at the member: it is the one that is probed."""
        assert url.raw_host is not None and url.port is not None  # `_join` has seen to it
        if url.raw_host != start.url.raw_host:
            return Step(method, url, await self._names.find(url.raw_host, trail), url.port, told=False)
        same = (url.scheme, url.port) == (start.url.scheme, start.url.port)
        return Step(method, url, start.address, start.port if same else url.port, told=same or url.scheme == "https")

    async def _ask(self, step: Step, check: WebCheck) -> aiohttp.ClientResponse:
        if self._session is None:
            self._session = _make_session()
        secure = step.url.scheme == "https"
        headers = {"Host": _host_header(step.url), "User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
        for field, value in check.headers.items() if step.told else ():
            headers[next((known for known in headers if known.lower() == field.lower()), field)] = value
        return await self._session.request(
            step.method,
            _make_url(step.url.scheme, step.address, step.port, step.url.raw_path_qs),
            headers=headers,
            allow_redirects=False,
            ssl=self._trust.find(*_trusted_by(check), "http/1.1") if secure else True,
            server_hostname=step.url.raw_host if secure else None,
        )

    async def _judge(self, response: aiohttp.ClientResponse, check: WebCheck) -> Finding:
        """Is the reply as *check* wants it?"""
        wanted = check.expect
        if not any(first <= response.status <= last for first, last in wanted.status):
            return failed(f"status {response.status}, expected {_tell_ranges(wanted.status)}")
        if wanted.body is None:
            return passed(f"status {response.status}")
        try:
            found, body = await find_in_body(response.content, wanted.body, self._patterns)
        except TooSlow:
            return failed(f"status {response.status}, but searching the body takes longer than {MOST_SECONDS:g} s")
        if found:
            return passed(f"status {response.status}, body as expected")
        return failed(f"status {response.status}, but the body is not as expected: {quote(body)}")


def _make_session() -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0, force_close=True, use_dns_cache=False, socket_factory=_open_socket)
    jar: AbstractCookieJar = aiohttp.DummyCookieJar()
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=jar,
        timeout=NO_LIMIT,
        trust_env=False,
        auto_decompress=False,
        response_class=Response,
    )


class Response(aiohttp.ClientResponse):
    """A reply that has looked at the member's certificate: a connection without a body is gone when the headers are read."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Begin to read from *connection*."""
        sockets, trail = _running.get()
        session = None if connection.transport is None else connection.transport.get_extra_info("ssl_object")
        if isinstance(session, ssl.SSLObject) and len(sockets) == 1:  # where a redirect leads is not the member's
            certificate = session.getpeercert(binary_form=True)
            with suppress(ValueError):
                trail.expires = None if certificate is None else valid_until(certificate)
        return await super().start(connection)


def _open_socket(info: aiohttp.AddrInfoType) -> socket.socket:
    opened = socket.socket(info[0], info[1], info[2])
    _running.get().sockets.append(opened)
    return opened


@lru_cache(maxsize=16384)
def _make_url(scheme: str, host: str, port: int, path: str) -> URL:
    """The URL as it was written: nothing in *path* is escaped anew."""
    host = f"[{host}]" if ":" in host else host
    return URL(f"{scheme}://{host}:{port}{path}", encoded=True)


def _public_port(target: Target, check: WebCheck) -> int:
    """The port in the URL. A `host` that was written is what clients ask for, whatever port the probe goes to."""
    return target.port if check.host is None else DEFAULT_PORTS[check.type]


def _join(base: URL, location: str) -> URL | None:
    """Where *location* leads from *base*; None where it is no URL for us. RFC 9110 10.2.2: it may be relative."""
    try:
        url = base.join(URL(location))
        return url if url.scheme in DEFAULT_PORTS and url.raw_host and url.port else None
    except ValueError:
        return None


def _next_method(method: str, status: int) -> str:
    """RFC 9110 15.4.4: after 303 one retrieves; 15.4.2, 15.4.3: so everybody does after a POST and 301, 302."""
    again = method == "HEAD" or (status != 303 and (method != "POST" or status not in (301, 302)))
    return method if again else "GET"


@lru_cache(maxsize=16384)
def _host_header(url: URL) -> str:
    """RFC 9110 7.2: host and port of the URL; the port is left out where it is the usual one."""
    host = f"[{url.raw_host}]" if ":" in (url.raw_host or "") else f"{url.raw_host}"
    return host if url.port == DEFAULT_PORTS[url.scheme] else f"{host}:{url.port}"


def _trusted_by(check: WebCheck) -> tuple[bool, Path | None]:
    return (check.verify, check.ca) if isinstance(check, HttpsCheck) else (True, None)


def _tell_ranges(ranges: tuple[tuple[int, int], ...]) -> str:
    return ", ".join(f"{first}-{last}" if first != last else f"{first}" for first, last in ranges)


def _explain(error: aiohttp.ClientError, trail: Trail) -> Finding:
    """What an error of aiohttp's says of the member."""
    inner: Exception = error
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        inner = error.certificate_error
    elif isinstance(error, aiohttp.ClientConnectorError):
        inner = error.os_error
    elif isinstance(error, aiohttp.ServerDisconnectedError):
        inner = EOFError("connection closed without a reply")
    elif isinstance(error, aiohttp.ClientPayloadError):
        return failed("connection closed in the body")
    elif isinstance(error, aiohttp.ClientResponseError):
        return failed("not a reply in HTTP")
    found = explain_error(inner)
    if found is None:
        return failed(f"{type(error).__name__}: {error}")
    return found._replace(seen=found.seen or trail.heard)
