"""Servers on loopback for probes to meet, and the checks that go there."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import trustme
from pydantic import TypeAdapter

from geodns.config.model import Check
from geodns.health.probes import Probes
from geodns.health.state import Outcome
from geodns.health.targets import Target

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
CHECKS: TypeAdapter[Any] = TypeAdapter(Check)


def make_target(host: str = "127.0.0.1", port: int = 0, member: str = "", /, **check: Any) -> Target:
    """A target with a check as it would be written; `port` is the target's and, where its type has one, the check's."""
    if port and check["type"] not in ("icmp", "file", "exec"):
        check["port"] = port
    check = {"interval": "1m"} | check
    return Target("key", "subject", CHECKS.validate_python(check), "web", host, port, member or host, ("ams",))


@asynccontextmanager
async def serving(talk: Talk, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A TCP server that lets *talk* speak on each connection; yields its port. What still talks at the end is cut off."""
    talking: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talking.add(task)
        try:
            with suppress(OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
                await talk(reader, writer)
        finally:
            writer.transport.abort()
            talking.discard(task)

    server = await asyncio.start_server(accept, host, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(talking):
            task.cancel()
        await asyncio.gather(*talking, return_exceptions=True)
        for _ in range(3):  # the transports say good-bye
            await asyncio.sleep(0)


async def probe_once(target: Target, **options: Any) -> Outcome:
    """One probe, with everything that it takes."""
    probes = Probes(**options)
    try:
        return await probes.probe(target)
    finally:
        await probes.close()


def probe_against(talk: Talk, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, /, **check: Any) -> Outcome:
    """What a probe says of a server that talks like this."""

    async def run() -> Outcome:
        async with serving(talk, host, tls) as port:
            return await probe_once(make_target(host, port, **check))

    return asyncio.run(run())


def reply(octets: bytes) -> Talk:
    """Read a request's head, and send *octets*."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(octets)
        await writer.drain()
        writer.close()

    return talk


def send(octets: bytes) -> Talk:
    """Send *octets* at once and wait for the other side to leave."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(octets)
        await writer.drain()
        await reader.read()

    return talk


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accept, and say nothing."""
    await asyncio.Event().wait()


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take a few octets and reset the connection."""
    await reader.read(1)
    found: socket.socket = writer.get_extra_info("socket")
    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def drip(octets: bytes, pause: float = 0.02) -> Talk:
    """Send one octet at a time, for ever."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        at = 0
        while True:
            writer.write(octets[at : at + 1] or b"x")
            await writer.drain()
            at += 1
            await asyncio.sleep(pause)

    return talk


def unused_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """What a server with this *certificate* speaks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context
