"""Native readers over loopback, for tests: roots of a small world, sockets, a client, and the packets that it sends.

Knows how a root is made from what the compiler writes. Knows nothing of what is tested with it.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.scenes import CONFIG, write_scene
from tests.server.adapters import PATIENCE
from tests.snapshots import opt_of, query_of, subnet_of

from geodns import publish
from geodns.answer import Settings, Turn, answer
from geodns.compiler.build import Built, assemble, build
from geodns.compiler.choices import build_choices
from geodns.health.state import Health
from geodns.image_choices import write_choices
from geodns.image_zones import read_zones
from geodns.native.tables import Root
from geodns.server.listen import Bound, bind_all
from geodns.server.native_udp import NativeReader, Samples
from geodns.server.udp import Answer
from geodns.settings import make_settings
from geodns.slices import at_once
from geodns.snapshot import Snapshot

OWNERS = (
    *("www", "several", "same", "cdn", "even", "odd", "shy", "loud", "alias", "away", "round", "mail"),
    *("x.apps", "b", "a.b", "host.sub", "nobody", "x.sub2"),
)
NAMES = ("example.com.", "www.example.org.", ".", *(f"{owner}.example.com." for owner in OWNERS))
TYPES = (1, 1, 28, 28, 2, 5, 6, 15, 16, 43, 65, 252, 255)
SUBNETS = (
    "81.2.69.0/24",
    "129.0.1.0/24",
    "10.1.0.0/16",
    "2a00:7::/48",
    "2400::/56",
    "64.1.2.3/32",
    "0.0.0.0/0",
    "8.0.0.0/7",
)


@dataclass(frozen=True, slots=True)
class Scene:
    """One snapshot in both forms."""

    built: Built
    snapshot: Snapshot
    root: Root
    settings: Settings

    def under(self, health: Health) -> Scene:
        """The same names under other health, as a flip makes it."""
        choices = build_choices(self.snapshot.zones, health)
        root = self.root.with_choices(write_choices(choices, self.snapshot.zones))
        return replace(self, snapshot=replace(self.snapshot, choices=choices), root=root)

    def anew(self) -> Scene:
        """An equal one that shares nothing with this but maps, as a reload makes it; it counts by names of its own."""
        zones = at_once(read_zones(self.built.zones, "zones block"))
        choices = self.snapshot.choices
        root = Root(self.built.maps, self.built.zones, write_choices(choices, zones))
        return replace(self, snapshot=Snapshot(self.snapshot.maps, zones, choices), root=root)

    def reference(self, query: bytes, peer: bytes, draw: int, tally: list[int]) -> bytes | None:
        """What the reference says."""
        return answer(Turn(self.snapshot, 0, self.settings, 0.0, tally), query, peer, draw)


def build_scene(folder: Path, change: Callable[[str], str] = str) -> Scene:
    """The world of `tests.scenes`, where everybody's subnet is believed; *change* is made to its configuration."""
    believed = CONFIG.replace('client_subnet: [192.0.2.0/24, "2001:db8::/32", 64.0.0.0/3]', "client_subnet: true")
    built = build(write_scene(folder, change(believed)), None)
    snapshot = assemble(built)
    root = Root(built.maps, built.zones, write_choices(snapshot.choices, snapshot.zones))
    return Scene(built, snapshot, root, make_settings(built.loaded.config.server))


@contextmanager
def published(scene: Scene, *, native: bool = True) -> Iterator[Scene]:
    """*scene* is current, with new counters; afterwards whatever was before."""
    before, publish.current = publish.current, None
    publish.publish(scene.snapshot, native=scene.root if native else None)
    try:
        yield scene
    finally:
        publish.current = before


class Site:
    """One listen address read by threads, and clients of it. `run` is where the loop has its turns."""

    def __init__(
        self,
        address: str = "127.0.0.1",
        threads: int = 1,
        settings: Settings | None = None,
        samples: Samples | None = None,
        answering: Answer = answer,
    ) -> None:
        (self.bound,) = bind_all([(address, 0)], threads)
        self.reader = NativeReader(self.bound, answering, settings or Settings(), samples)
        self._stack = ExitStack()

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        self.reader.stop()
        self._stack.close()
        self.bound.close()

    def client(self, address: str = "") -> socket.socket:
        """A socket whose every packet goes to *address* (the one that is listened at), and who fails rather than wait."""
        family = self.bound.udp.family
        sender = self._stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        sender.settimeout(PATIENCE)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)  # whatever a test has not read yet
        loopback = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        sender.connect((address or (loopback if self.bound.wildcard else self.bound.address), self.bound.port))
        return sender


def with_loop(site: Site, work: Callable[[], None]) -> None:
    """Start the reader, do *work* beside its loop, stop it."""

    async def run() -> None:
        site.reader.start(asyncio.get_running_loop())
        try:
            await asyncio.to_thread(work)
        finally:
            site.reader.stop()

    asyncio.run(run())


def rebind(bound: Bound) -> Bound:
    """The same sockets under other descriptors, as a successor gets them."""
    udp = [one.dup() for one in bound.group]
    return replace(bound, udp=udp[0], tcp=bound.tcp.dup(), more=tuple(udp[1:]))


def draw_packets(seed: int, count: int) -> Iterator[bytes]:
    """So many packets as a resolver, a fool or an enemy would send them; none is shorter than its id."""
    rng = random.Random(seed)
    for number in range(count):
        opt = (
            opt_of(rng.choice((b"", subnet_of(rng.choice(SUBNETS)), b"\x00\x0c\x00\x02\0\0")))
            if rng.random() < 0.7
            else None
        )
        packet = bytearray(query_of(rng.choice(NAMES), rng.choice(TYPES), ident=number & 0xFFFF, opt=opt))
        kind = rng.random()
        if kind < 0.2:
            packet[rng.randrange(2, len(packet))] ^= 1 << rng.randrange(8)
        elif kind < 0.25:
            del packet[rng.randrange(2, len(packet)) :]
        elif kind < 0.3:
            packet[2:] = rng.randbytes(rng.randrange(100))
        yield bytes(packet)
