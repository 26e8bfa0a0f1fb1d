"""Ways to put a question to a snapshot through a real PowerDNS: its pipe and its remote backend, caches off and tuned.

Knows pdns_server's settings, our backend socket in a loop of its own, and how a query gets any peer: from loopback as it is,
for every other one with the PROXY protocol's word for it. Knows nothing of what is asked, or of what is right in a reply.
"""

from __future__ import annotations

import asyncio
import shutil
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from tests.powerdns.pdns import PATIENCE, Pdns, start_pdns
from tests.replies import speaks_ipv6
from tests.transports import ask_tcp, ask_udp

from geodns import publish
from geodns.answer import Settings
from geodns.compiler.build import Built
from geodns.server.backend import BackendServer
from geodns.server.listen import bind_backend
from geodns.settings import make_settings
from geodns.snapshot import Snapshot

Address = IPv4Address | IPv6Address
PROXY = "127.0.9.9"  # who may say on whose behalf it asks
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"  # PROXY protocol, version 2, section 2.2
# One thread: each backend thread is a coprocess, and a process start is what costs here.
ALWAYS = """
edns-subnet-processing=yes
disable-axfr=yes
distributor-threads=1
any-to-tcp=yes
"""
OFF = "cache-ttl=0\nquery-cache-ttl=0\nnegquery-cache-ttl=0\nzone-cache-refresh-interval=0\n"
TUNED = "cache-ttl=0\nquery-cache-ttl=20\nnegquery-cache-ttl=5\nconsistent-backends=no\n"


def write_pipe(path: Path, abi: int) -> str:
    """What launches the shim on the socket at *path*. PowerDNS cuts the command at each space, whatever stands there."""
    geodns = Path(sys.executable).with_name("geodns")
    command = f"{geodns} pipe --socket {path}"
    return f"launch=pipe\npipe-command={command}\npipe-abi-version={abi}\nzone-cache-refresh-interval=0\n"


def write_remote(path: Path) -> str:
    """What attaches PowerDNS to the socket at *path*."""
    return f"launch=remote\nremote-connection-string=unix:path={path}\n"


@dataclass(frozen=True, slots=True)
class Way:
    """One way through PowerDNS: the pipe's *abi* (0: the remote backend), and whether its caches remember."""

    abi: int
    tuned: bool

    def write(self, path: Path) -> str:
        """The configuration over the backend socket at *path*."""
        launch = write_pipe(path, self.abi) if self.abi else write_remote(path)
        return launch + ALWAYS + (TUNED if self.tuned else OFF)

    @property
    def lists_zones(self) -> bool:
        """Does PowerDNS fetch the list of zones, once, and refuse every other name?"""
        return not self.abi and self.tuned


WAYS = {
    "pipe, ABI 3": Way(3, False),
    "pipe, ABI 5": Way(5, False),
    "pipe, ABI 3, tuned": Way(3, True),
    "pipe, ABI 5, tuned": Way(5, True),
    "remote": Way(0, False),
    "remote, tuned": Way(0, True),
}


class Backend:
    """The daemon's backend socket, at *path*, in a loop of its own thread, answering from `publish.current`."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = path
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="backend", daemon=True)
        self._thread.start()
        self.server = asyncio.run_coroutine_threadsafe(self._start(settings), self._loop).result(PATIENCE)

    async def _start(self, settings: Settings) -> BackendServer:
        server = BackendServer(settings, time.time)
        await server.start(bind_backend(self.path, None, 0o600))
        return server

    def close(self) -> None:
        """Stop answering and end the thread."""
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()


class ThroughPdns:
    """A pdns_server for each group of scenarios that one can serve, started when it is first needed."""

    exact = False

    def __init__(self, folder: Path, way: Way) -> None:
        self._folder, self.way = folder, way
        self._running: dict[tuple[object, ...], tuple[Backend, Pdns]] = {}
        self._built: Built | None = None
        self.pdns: Pdns | None = None  # the one that is asked

    def publish(self, built: Built, snapshot: Snapshot) -> None:
        """Answer from *snapshot* from now on. Where other zones come with it, PowerDNS forgets what it remembers."""
        publish.publish(snapshot)
        settings = make_settings(built.loaded.config.server)
        zones = tuple((zone.apex, zone.number) for zone in snapshot.zones.zones) if self.way.lists_zones else ()
        key = (settings, zones)
        if key not in self._running:
            self._running[key] = self._start(settings)
        _, self.pdns = self._running[key]
        if self.way.tuned and built is not self._built:
            self.pdns.control("purge")
        self._built = built

    def _start(self, settings: Settings) -> tuple[Backend, Pdns]:
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        backend = Backend(folder / "b", settings)
        addresses = "127.0.0.1, ::1" if speaks_ipv6() else "127.0.0.1"
        try:
            pdns = start_pdns(
                folder, self.way.write(backend.path), {"local-address": addresses, "proxy-protocol-from": PROXY}
            )
        except BaseException:
            backend.close()
            raise
        return backend, pdns

    def ask(self, query: bytes, peer: Address, draw: int) -> bytes | None:
        """The reply to *query* by UDP, as if it came from *peer*."""
        return self._ask(query, peer, tcp=False)

    def ask_tcp(self, query: bytes, peer: Address) -> bytes | None:
        """The reply to *query* by TCP, as if it came from *peer*."""
        return self._ask(query, peer, tcp=True)

    def _ask(self, query: bytes, peer: Address, *, tcp: bool) -> bytes | None:
        assert self.pdns is not None
        where = ("::1" if peer.is_loopback and peer.version == 6 else "127.0.0.1", self.pdns.port)
        if peer.is_loopback and (peer.version == 4 or speaks_ipv6()):
            return ask_tcp(query, where, str(peer)) if tcp else ask_udp(query, where, str(peer))
        head = write_proxy_head(peer, tcp=tcp)
        where = ("127.0.0.1", self.pdns.port)
        if not tcp:
            return ask_udp(head + query, where, PROXY)
        return ask_tcp(query, where, PROXY, head=head)

    def close(self) -> None:
        """End all of them."""
        for backend, pdns in self._running.values():
            pdns.stop()
            backend.close()
        self._running.clear()


def write_proxy_head(peer: Address, *, tcp: bool) -> bytes:
    """What stands before a query that *peer* sent to somebody (PROXY protocol, version 2)."""
    size = len(peer.packed)
    family = (1 if peer.version == 4 else 2) << 4 | (1 if tcp else 2)
    addresses = peer.packed + bytes(size) + struct.pack("!HH", 4053, 53)
    return SIGNATURE + struct.pack("!BBH", 0x21, family, len(addresses)) + addresses


@contextmanager
def open_way(name: str) -> Iterator[ThroughPdns]:
    """The way of that name, ended at last. Its folder is short: a unix socket's path has 107 octets at most."""
    folder = Path(tempfile.mkdtemp(prefix="pdns-"))
    way = ThroughPdns(folder, WAYS[name])
    try:
        yield way
    finally:
        way.close()
        shutil.rmtree(folder)
