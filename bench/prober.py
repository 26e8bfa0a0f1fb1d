#!/usr/bin/env python3
"""What probing costs and how punctual it is: the prober as the daemon runs it, against servers in another process.

    prober.py [--only tcp http https silent] [--seconds 20] [--rounds 3] [--most 0.6]

5,000 targets by tcp and 2,500 by http every 5 s, 1,000 by https (verified, TLS 1.3) every 10 s, and 5,000 by tcp that never
reply; each target is an address of its own in 127.0.0.0/8. At first all are asked for at once: until all have an outcome,
and the slowest of these probes. Then, after one interval to settle, CPU of the prober (user and system, told by its pulse)
and of the daemon's side are measured for so many seconds, and lateness. Printed is each round; exit status 1 where the
median is above --most of a core, or a 99th percentile of lateness above a tenth of the interval.
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
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import trustme
from pydantic import TypeAdapter

from geodns.config.model import Check
from geodns.health.child import Prober
from geodns.health.state import Outcome, Verdict
from geodns.health.targets import Target

NAME = "www.example.com"
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"


class Kind(NamedTuple):
    """One line of the table."""

    targets: int
    interval: float
    port: int  # index of what the servers print
    written: dict[str, object]


KINDS = {
    "tcp": Kind(5000, 5.0, 0, {"type": "tcp"}),
    "http": Kind(2500, 5.0, 0, {"type": "http", "path": "/healthz", "host": NAME}),
    "https": Kind(1000, 10.0, 1, {"type": "https", "path": "/healthz", "host": NAME}),
    "silent": Kind(5000, 5.0, 2, {"type": "tcp"}),
}


class Talk(asyncio.Protocol):
    """Answers whatever comes, and leaves."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(REPLY)
        self.transport.close()


async def serve(folder: Path) -> None:
    """A plain server and one with TLS on all addresses of the loopback; prints their ports and stays."""
    loop = asyncio.get_running_loop()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    servers = [await loop.create_server(Talk, "0.0.0.0", 0, ssl=tls, backlog=1000) for tls in (None, context)]
    with socket.socket() as silent:
        silent.bind(("0.0.0.0", 0))
        silent.listen(0)
        full = [socket.socket() for _ in range(4)]  # a queue that nobody empties: what comes then is dropped
        for one in full:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", silent.getsockname()[1]))
        ports = [server.sockets[0].getsockname()[1] for server in servers]
        print(*ports, silent.getsockname()[1], flush=True)
        await asyncio.Event().wait()


def make_targets(kind: Kind, ports: Sequence[int], ca: Path) -> list[Target]:
    """As many targets as *kind* says, with one check."""
    port = ports[kind.port]
    written = {"port": port, "interval": kind.interval, **kind.written}
    if written["type"] == "https":
        written["ca"] = str(ca)
    check = TypeAdapter[Check](Check).validate_python(written)
    hosts = [f"127.1.{number >> 8}.{number & 255}" for number in range(kind.targets)]
    return [Target(f"{check.type} {host}:{port}", "", check, "web", host, port, host, ("ams",)) for host in hosts]


class Round(NamedTuple):
    """What one round measured."""

    whole: float  # seconds until all that were asked for at once had an outcome
    slowest: float  # seconds of these probes
    cpu: float  # of the prober, share of a core
    daemon: float  # of our side of it
    lateness: float  # seconds, 99th percentile
    rate: float  # outcomes a second
    up: float  # share of them
    under_way: int


async def measure(targets: Sequence[Target], interval: float, seconds: float) -> Round:
    """One prober from start to stop."""
    found: list[Outcome] = []
    began = asyncio.Event()
    prober = Prober(found.extend, print, began.set)
    await prober.start()
    await began.wait()
    at = time.monotonic()
    prober.watch(targets, [target.key for target in targets])
    while len({one.key for one in found}) < len(targets):
        await asyncio.sleep(0.05)
    whole, slowest = time.monotonic() - at, max(one.seconds for one in found)
    await asyncio.sleep(interval + 1)
    assert prober.pulse is not None
    first, ours, at = prober.pulse, time.process_time(), time.monotonic()
    found.clear()
    await asyncio.sleep(seconds)
    lasted = time.monotonic() - at
    last, cpu = prober.pulse, time.process_time() - ours
    await prober.stop()
    return Round(
        whole,
        slowest,
        (last.cpu - first.cpu) / round(lasted),
        cpu / lasted,
        last.lateness or 0.0,
        len(found) / lasted,
        sum(one.verdict is Verdict.UP for one in found) / max(len(found), 1),
        last.under_way,
    )


def run(options: argparse.Namespace, folder: Path) -> bool:
    """All kinds, one after the other; were all within the bars?"""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.issue_cert(NAME).private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    server = subprocess.Popen([sys.executable, __file__, "--serve", folder], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    ports = [int(port) for port in server.stdout.readline().split()]
    good = True
    try:
        for name in options.only:
            kind = KINDS[name]
            targets = make_targets(kind, ports, folder / "ca.pem")
            rounds = [asyncio.run(measure(targets, kind.interval, options.seconds)) for _ in range(options.rounds)]
            for one in rounds:
                print(
                    f"{name:>6}: {kind.targets} every {kind.interval:g} s: prober {one.cpu:.1%}, daemon {one.daemon:.1%}, "
                    f"lateness p99 {one.lateness * 1000:.0f} ms, {one.rate:.0f}/s, {one.up:.2%} up, "
                    f"{one.under_way} under way; all at once {one.whole:.2f} s, slowest {one.slowest:.3f} s",
                    flush=True,
                )
            good &= statistics.median(one.cpu for one in rounds) <= options.most
            good &= statistics.median(one.lateness for one in rounds) <= kind.interval / 10
    finally:
        server.kill()
        server.wait()
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most", type=float, default=0.6)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve))
    with tempfile.TemporaryDirectory() as folder:
        return int(not run(options, Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
