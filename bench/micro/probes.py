"""What one probe costs the prober: processor time (user and system), beside the same octets over bare sockets.

    python bench/micro/probes.py [--probes 400] [--rounds 5]

The servers are another process. Each round takes all kinds in turn; printed are the median of the rounds and their range,
in milliseconds a probe, with eight probes in flight.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import trustme
from pydantic import TypeAdapter

from geodns.config.model import Check
from geodns.health.probes import Probes
from geodns.health.state import Verdict
from geodns.health.targets import Target

AT_ONCE = 8
HOST = "127.0.0.1"
NAME = "www.example.com"
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n"
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"
Turn = Callable[[], Awaitable[None]]


class Talk(asyncio.Protocol):
    """Answers whatever comes, and leaves."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(REPLY)
        self.transport.close()


async def serve(folder: Path) -> None:
    """A plain server and one with TLS; prints their ports and stays."""
    loop = asyncio.get_running_loop()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    servers = [await loop.create_server(Talk, HOST, 0, ssl=tls, backlog=1000) for tls in (None, context)]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await asyncio.Event().wait()


async def measure(turn: Turn, count: int) -> float:
    """Milliseconds of our processor time a turn."""

    async def take() -> None:
        for _ in range(count // AT_ONCE):
            await turn()

    began = time.process_time()
    await asyncio.gather(*(take() for _ in range(AT_ONCE)))
    return (time.process_time() - began) / (count // AT_ONCE * AT_ONCE) * 1000


def probe_turn(probes: Probes, port: int, **check: object) -> Turn:
    """A probe with this check."""
    read = TypeAdapter[Check](Check).validate_python({"port": port, **check})
    target = Target("", "", read, "", HOST, port, HOST, ())

    async def turn() -> None:
        outcome = await probes.probe(target)
        assert outcome.verdict is Verdict.UP, outcome.text

    return turn


def bare_turn(port: int, request: bytes) -> Turn:
    """The same over a socket of the loop: connect, send, receive."""

    async def turn() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as bare:
            bare.setblocking(False)
            await loop.sock_connect(bare, (HOST, port))
            if request:
                await loop.sock_sendall(bare, request)
                await loop.sock_recv(bare, 4096)

    return turn


def bare_tls_turn(port: int, context: ssl.SSLContext) -> Turn:
    """The same over the streams of asyncio."""

    async def turn() -> None:
        reader, writer = await asyncio.open_connection(HOST, port, ssl=context, server_hostname=NAME)
        writer.write(REQUEST)
        await reader.read(4096)
        writer.transport.abort()

    return turn


async def compare(plain: int, secure: int, ca: Path, count: int, rounds: int) -> None:
    """Measure and print."""
    probes = Probes()
    web = {"path": "/healthz", "host": NAME}
    turns = {
        "bare connection": bare_turn(plain, b""),
        "tcp": probe_turn(probes, plain, type="tcp"),
        "bare request": bare_turn(plain, REQUEST),
        "http": probe_turn(probes, plain, type="http", **web),
        "http, body": probe_turn(probes, plain, type="http", expect={"body": "ok"}, **web),
        "http, body re:": probe_turn(probes, plain, type="http", expect={"body": "re:^ok$"}, **web),
        "bare TLS request": bare_tls_turn(secure, ssl.create_default_context(cafile=ca)),
        "tls": probe_turn(probes, secure, type="tls", host=NAME, ca=str(ca)),
        "https": probe_turn(probes, secure, type="https", ca=str(ca), **web),
    }
    found: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(rounds):
        for name, turn in turns.items():
            found[name].append(await measure(turn, count))
    for name, all_of in found.items():
        print(f"{name:18} {statistics.median(all_of):7.3f} ms  ({min(all_of):.3f} to {max(all_of):.3f})")
    await probes.close()


def main() -> None:
    """Start the servers, compare, stop them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--probes", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is not None:
        asyncio.run(serve(given.serve))
        return
    with tempfile.TemporaryDirectory() as name:
        folder, authority = Path(name), trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        authority.issue_cert(NAME).private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
        with subprocess.Popen([sys.executable, __file__, "--serve", name], stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            plain, secure = map(int, server.stdout.readline().split())
            try:
                asyncio.run(compare(plain, secure, folder / "ca.pem", given.probes, given.rounds))
            finally:
                server.kill()


if __name__ == "__main__":
    main()
